"""A client that asks the front for masks, one after the other, in a process that shares nothing with an attack.

`python -m tests.support.good_client URL CERTIFICATE KEY ADDRESS IMAGE COUNT` prints the median of its times in seconds.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import requests

from tests.support.front import From

_PAUSE = 0.05  # stays below the rate of a key


def main() -> int:
    """Ask as often as told; any other answer than a mask ends it with the answer on stderr and the exit status 1."""
    url, certificate, key, source, file, count = sys.argv[1:]
    image = Path(file).read_bytes()
    seconds = []
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", From(source))
        for _ in range(int(count)):
            start = time.monotonic()
            answer = session.post(
                f"{url}/predictions/lseg",
                data=image,
                headers={"X-API-Key": key, "Content-Type": "image/png", "X-LSeg-Labels": "sky,tree"},
                verify=certificate,
                timeout=120,
            )
            seconds.append(time.monotonic() - start)
            if answer.status_code != 200:
                print(answer.status_code, answer.text, file=sys.stderr)
                return 1
            time.sleep(_PAUSE)
    print(statistics.median(seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
