"""PESQ (ITU-T P.862.2, wide band) of every pair NAME.ref.wav, NAME.deg.wav in a folder; prints "NAME SCORE"."""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pesq import NoUtterancesError, pesq
from scipy.io import wavfile
from scipy.signal import resample_poly

RATE_HZ = 16_000


def load(path):
    rate, samples = wavfile.read(path)
    return resample_poly(samples.astype("float64"), RATE_HZ, rate)


def score(reference):
    name = reference.name.removesuffix(".ref.wav")
    heard = load(reference.with_name(f"{name}.deg.wav"))
    try:
        return name, pesq(RATE_HZ, load(reference), heard, "wb")
    except NoUtterancesError:
        return name, float("nan")


if __name__ == "__main__":
    pairs = sorted(Path(sys.argv[1]).glob("*.ref.wav"))
    with ProcessPoolExecutor() as pool:
        for name, value in pool.map(score, pairs):
            print(name, f"{value:.4f}")
