"""Measurements of Facet: `make bench` runs them, `benchmarks/README.md` shows what they found.

```
   scenario ──► servers, clients ──► results/NAME.json ──► README.md, plots/*.svg
                (own processes)      (figures, machine,      (nothing but the JSON
                                      date, commit)           and the scenario's text)
```
"""
