"""All tables by name. A new paper is one file with its tables, named here."""

from __future__ import annotations

from experiments.reproduce import bsconv, even_kernel, hybrid, xception, xsepconv
from experiments.reproduce.table import PaperTable

TABLES: dict[str, PaperTable] = {
    table.name: table for paper in (xsepconv, bsconv, even_kernel, hybrid, xception) for table in paper.TABLES
}
