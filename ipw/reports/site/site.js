// What the index can do with a script: sort its tables, and show the runs that people look for. Without one it is whole.
"use strict";

const FACETS = [["model", "Model"], ["hardware", "Hardware"], ["basis", "Basis"], ["load", "Load"], ["dataSet", "Data set"]];
const groups = [...document.querySelectorAll("section.group")];
const rows = groups.flatMap((group) => [...group.querySelectorAll("tbody tr")]);

// --- filters ------------------------------------------------------------------------------------------------------

const chosen = new Map();
const words = make("input", { type: "search", name: "words" });
const shown = make("output", {});

function choice([facet, label]) {
  const values = [...new Set(rows.map((row) => row.dataset[facet]))];
  values.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  if (values.length < 2) return null;
  const select = make("select", { name: facet }, new Option("all", ""), ...values.map((value) => new Option(value, value)));
  chosen.set(facet, select);
  return make("label", {}, label, select);
}

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const facets = [...chosen].filter(([, select]) => select.value !== "");
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !(facets.every(([facet, select]) => row.dataset[facet] === select.value) && wanted.every((w) => text.includes(w)));
  }
  for (const group of groups) group.hidden = !group.querySelector("tbody tr:not([hidden])");
  shown.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  const told = new URLSearchParams(facets.map(([facet, select]) => [facet, select.value]));
  if (words.value) told.set("words", words.value);
  history.replaceState(null, "", told.size ? `#${told}` : location.pathname + location.search);
}

function fromAddress() {
  const told = new URLSearchParams(location.hash.slice(1));
  for (const [facet, select] of chosen) {
    select.value = told.get(facet) ?? "";
    if (select.selectedIndex < 0) select.value = "";
  }
  words.value = told.get("words") ?? "";
  filter();
}

document.querySelectorAll("table.sortable").forEach(sortable);
if (rows.length > 1) {
  const form = document.getElementById("filters");
  form.append(...FACETS.map(choice).filter(Boolean), make("label", {}, "Text", words), shown);
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", fromAddress);
  fromAddress();
}
