// Tables that sort by a click on a heading: of a page and of a site.
"use strict";

const make = (name, attributes, ...children) => {
  const element = document.createElement(name);
  Object.assign(element, attributes);
  element.append(...children);
  return element;
};

// --- tables -------------------------------------------------------------------------------------------------------

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", className: "sort" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, heads, column));
  });
}

function sort(table, heads, column) {
  const down = heads[column].ariaSort === "ascending";
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].ariaSort = down ? "descending" : "ascending";
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [key(row.cells[column]), row]);
  keyed.sort(([a], [b]) => order(a, b, down));
  body.append(...keyed.map(([, row]) => row));
}

function key(cell) {
  if (!("value" in cell.dataset)) return (cell.querySelector("bdi") ?? cell).textContent; // a name, without its rank
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function order(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null); // what is absent stays last
  const rising = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  return down ? -rising : rising;
}
