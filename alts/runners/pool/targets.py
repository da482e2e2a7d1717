"""How many machines of each platform a pool should have. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from alts.shared.models.platform import Platform


def targets(demand: Mapping[Platform, int], *, size: int) -> Mapping[Platform, int]:
    """Divide `size` machines among the platforms.

    `demand`: platform → number of recent requests, the most recently requested platform first. Each platform gets one
    machine while there are enough, then each next one goes to the platform with the most requests for each of its
    machines. No platform gets more machines than it had requests.
    """
    found = dict.fromkeys(list(demand)[:size], 1)
    for _ in range(size - len(found)):
        open_to_more = [platform for platform, count in found.items() if count < demand[platform]]
        if not open_to_more:
            break
        # The first of several with the same need, so that the same demand has the same answer.
        neediest = max(open_to_more, key=lambda platform: demand[platform] / found[platform])
        found[neediest] += 1
    return found
