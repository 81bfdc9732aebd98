"""What it costs to turn a DataFrame into bytes, beside its own to_csv: `python -m tests.bench.frames [ROUNDS]`.

Milliseconds of cpu, the least of ROUNDS interleaved ones: ours, pandas', and how many times as fast ours is. The bytes
are compared, too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from batchctl.guest.rows import AZURE, CSV, Renderer

_SEPARATORS = {CSV: ",", AZURE: " "}


def frames() -> dict[str, pd.DataFrame]:
    dice = np.random.default_rng(0)
    score = dice.random(250_000)
    wide = pd.DataFrame(dice.normal(size=(16, 384)).astype("float32"), columns=[f"e{k}" for k in range(384)])
    wide.insert(0, "file", [f"{k:05d}.txt" for k in range(16)])
    words = [f'said "{k}"' if k % 50 == 0 else f"some words, {k}" for k in range(20_000)]
    return {
        "10 x 5, mixed": pd.DataFrame(
            [(k, f"user-{k}", k * 1.37 + 0.11, 1_700_000_000 + k, 1900 + k) for k in range(10)]
        ),
        "250,000 x 3, int64, float64, int8": pd.DataFrame(
            {"id": np.arange(250_000), "score": score, "label": (score > 0.5).astype("int8")}
        ),
        "16 x 385, a name and float32": wide,
        "20,000 x 3, text to be quoted, floats with gaps and whole ones": pd.DataFrame(
            {
                "text": words,
                "gaps": np.where(score[:20_000] < 0.1, np.nan, score[:20_000]),
                "whole": np.arange(20_000.0),
            }
        ),
        "20,000 x 2, a time: pandas itself": pd.DataFrame(
            {"at": pd.date_range("2026-01-01", periods=20_000, freq="s"), "n": np.arange(20_000)}
        ),
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name, frame in frames().items():
        for form, separator in _SEPARATORS.items():
            render = Renderer(form, "append_row", "/nonexistent").render
            times = 1 + 20_000 // frame.size

            def ours(frame: pd.DataFrame = frame, render: Callable[[object], bytes] = render) -> bytes:
                return render(frame)

            def theirs(frame: pd.DataFrame = frame, separator: str = separator) -> bytes:
                return frame.to_csv(header=False, index=False, sep=separator).encode()

            assert ours() == theirs()
            pairs = [(_cpu_ms(ours, times), _cpu_ms(theirs, times)) for _ in range(rounds)]
            fast, slow = (min(column) for column in zip(*pairs, strict=True))
            print(f"{name}; {form}: {fast:.3g} ms, to_csv {slow:.3g} ms, {slow / fast:.1f} times as fast")


def _cpu_ms(make: Callable[[], bytes], times: int) -> float:
    begin = time.process_time()
    for _ in range(times):
        make()
    return (time.process_time() - begin) / times * 1e3


if __name__ == "__main__":
    main()
