"""
`python -m bench.signing SECONDS`: what the signature of a token costs, and nothing else. Prints a result as the load
generator does.
"""

import sys
import time
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bench.figures import Result

__all__ = ["measure"]

_PAYLOAD_BYTES: Final = 900
"""Of header and claims; hardly matters."""

_WARM_UP: Final = 50
_AT_ONCE: Final = 20


def measure(duration_s: float) -> Result:
    """Sign for so long with a key as the token issuer's are."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text, scheme, digest = b"x" * _PAYLOAD_BYTES, padding.PKCS1v15(), hashes.SHA256()
    for _ in range(_WARM_UP):
        key.sign(text, scheme, digest)
    began_s, began_cpu_s, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began_s < duration_s:
        for _ in range(_AT_ONCE):
            key.sign(text, scheme, digest)
        count += _AT_ONCE
    elapsed_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    return Result(
        mode="signing", seconds=elapsed_s, calls_per_s=count / elapsed_s, cpu_us_per_operation=cpu_s / count * 1e6
    )


if __name__ == "__main__":
    print(msgspec.json.encode(measure(float(sys.argv[1]))).decode())
