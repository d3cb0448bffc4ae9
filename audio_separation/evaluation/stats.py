"""Mean and confidence interval over episodes."""

from __future__ import annotations

import math
from typing import Iterable, NamedTuple, Optional

import numpy as np
from scipy.stats import t as student_t


class Estimate(NamedTuple):
    """A mean over episodes.

    Attributes:
        mean: None where no episode has a score.
        ci95: half width of the 95 % confidence interval; None below two episodes.
        n: episodes that have a score.
    """

    mean: Optional[float]
    ci95: Optional[float]
    n: int


def mean_ci(values: Iterable[Optional[float]], confidence: float = 0.95) -> Estimate:
    """Mean of ``values`` with the half width of its Student-t interval; None and NaN are left out."""
    found = np.array([v for v in values if v is not None and not math.isnan(v)], dtype=np.float64)
    n = len(found)
    if n == 0:
        return Estimate(None, None, 0)
    mean = float(found.mean())
    if n == 1:
        return Estimate(mean, None, 1)
    quantile = float(student_t.ppf(0.5 + confidence / 2, n - 1))
    return Estimate(mean, quantile * float(found.std(ddof=1)) / math.sqrt(n), n)
