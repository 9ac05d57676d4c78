"""What a server needs where a SQLite file has a lock: one run for each name, and patience when two jobs cross.

A server has no file lock, and MLflow cannot create a run "unless it is there". A job therefore creates a run that is
only a claim (tag `CLAIM_TAG`), and then looks for others of that name. Only a claim that is alone is settled, by
removing the tag; of several, all but the one with the smallest id are deleted by their jobs, which then wait for it.
Of two jobs the later creator sees the earlier run, so two are never settled; nobody uses a run before it is settled.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from mlflow.entities import Run
from mlflow.exceptions import RestException
from mlflow.tracking import MlflowClient

CLAIM_TAG = "odevae.claim"
# A claim as old as this has lost its job: longer than one request can take with all its retries.
ABANDONED_S = 60.0
GIVE_UP_S = 3 * ABANDONED_S
# How often something is done again that another job has crossed.
TRIES = 5

Found = TypeVar("Found")


def patiently(act: Callable[[], Found]) -> Found:
    """Do something that may be done twice, and again if the server answers with an error.

    When two jobs bring in the same new row at once, a tag or a data set, the server refuses one of them, which finds
    the row there on its next try. A server that does not answer raises another kind of error, at once.

    Raises:
        RestException: if the server refuses `TRIES` times.
    """
    for _ in range(TRIES - 1):
        try:
            return act()
        except RestException:
            time.sleep(random.uniform(0.05, 0.5))
    return act()


def find_or_create(
    client: MlflowClient,
    search: Callable[[], list[Run]],
    choose: Callable[[list[Run]], Found | None],
    create: Callable[[dict[str, str]], Run],
    abandoned_s: float,
) -> Found:
    """What `choose` finds among the settled runs of a name; if it finds nothing, one more run is created first.

    Args:
        client: of MLflow.
        search: gives all runs of the name, claims included.
        choose: takes settled runs; None if none of them will do, and then it has deleted them.
        create: creates a run with these tags besides its own.
        abandoned_s: the age at which a claim of somebody else is deleted; 0 under a lock, where it can only be a dead
            job's.

    Raises:
        TimeoutError: if no run is settled in `GIVE_UP_S`.
        MlflowException: whatever the store raises.
    """
    own, first_seen = None, {}
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        runs = search()
        settled = [run for run in runs if CLAIM_TAG not in run.data.tags]
        claims = {run.info.run_id for run in runs if CLAIM_TAG in run.data.tags} - {own}
        if own is None:
            found = choose(settled)
            if found is not None:
                return found
            if not claims:
                own = create({CLAIM_TAG: "open"}).info.run_id
                continue
        elif not settled and not claims:
            client.delete_tag(own, CLAIM_TAG)
            own = None
            continue
        elif settled or min(claims) < own:
            client.delete_run(own)
            own = None
        for claim in claims:
            if time.monotonic() - first_seen.setdefault(claim, time.monotonic()) >= abandoned_s:
                client.delete_run(claim)
        time.sleep(random.uniform(0.05, 0.5))
    raise TimeoutError(f"other jobs have been creating the same run for {GIVE_UP_S:.0f} s")
