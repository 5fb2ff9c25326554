"""What each figure of expert routing means."""

from __future__ import annotations

from ipw.metrics.definitions import Definition
from ipw.workloads.routing.parameters import SEGMENT_LENGTHS

CORRECTED = "; first touches are misses, and the experts of one token never evict one another"
SIZE = "caches of twice as many experts a layer as a token uses: choices found in the cache / all choices"
POOL = "the same of one pool for all layers, at most 256 sequences; segments of"


def _rates(name: str, label: str, evicts: str) -> tuple[Definition, Definition]:
    formula = f"{SIZE}; evicts {evicts}"
    return (
        Definition(name, label, "", "higher", formula),
        Definition(f"{name}_corrected", f"{label}, corrected", "", "higher", formula + CORRECTED),
    )


DEFINITIONS = (
    Definition(
        "segment_routing_best_performance", "Segment routing best performance (SRP)", "", "higher",
        "F1 score of the best router that says once a segment of 16 tokens which experts all of its tokens use",
    ),
    Definition(
        "segment_routing_size_ratio", "Segment routing size ratio", "", "",
        "experts that this router switches on / experts that the tokens use",
    ),
    *_rates(
        "segment_cache_best_hit_rate", "Segment cache best hit rate (SCH)",
        "what the next 16 tokens use least often, then what was used longest ago",
    ),
    *_rates("lru_hit_rate", "LRU hit rate", "what was used longest ago"),
    *_rates("lfu_hit_rate", "LFU hit rate", "what was used least often"),
    *_rates("belady_hit_rate", "Belady hit rate", "what is needed again last, known beforehand"),
    Definition("segment_cache_best_hit_rate_pooled", "SCH, pooled", "", "higher", f"{POOL} 16 tokens"),
    *(
        Definition(
            f"segment_cache_best_hit_rate_pooled_{m}", f"SCH, pooled, m = {m}", "", "higher", f"{POOL} {m} tokens"
        )
        for m in SEGMENT_LENGTHS
    ),
    Definition(
        "load_balance_sd", "Load balance", "", "",
        "standard deviation over experts of the share of tokens that use each",
    ),
    Definition(
        "cache_knee_experts", "Cache at the knee", "experts", "",
        "experts a layer behind which one more helps least (LRU, corrected): the farthest from the straight line",
    ),
    Definition("cache_knee_bytes", "Memory at the knee", "B", "", "that cache over all layers, in bytes of experts"),
    Definition(
        "domain_specialisation", "Domain specialisation", "", "",
        "mean over experts of the standard deviation over its mean of how often the domains use it",
    ),
    Definition(
        "vocabulary_specialisation_input", "Vocabulary specialisation, input", "", "",
        "mean over experts of the share of a token's occurrences that go to the expert that gets most of them",
    ),
    Definition(
        "vocabulary_specialisation_next", "Vocabulary specialisation, next", "", "",
        "the same of the token that follows",
    ),
    Definition("prefill_tokens_per_s", "Tokens read per second", "1/s", "higher", "prompt tokens / time of reading"),
    Definition("decode_tokens_per_s", "Tokens written per second", "1/s", "higher", "tokens written / time of writing"),
    Definition(
        "energy_per_token_j", "Energy per token", "J", "lower", "energy of all sequences / tokens read and written",
        energy=True,
    ),
    Definition(
        "prefill_energy_per_token_j", "Prefill energy per token", "J", "lower", "energy of reading / prompt tokens",
        energy=True,
    ),
    Definition(
        "decode_energy_per_token_j", "Decode energy per token", "J", "lower", "energy of writing / tokens written",
        energy=True,
    ),
)  # fmt: skip
