"""What a sweep's journal folds to, kept beside it: who only looks need not fold 10,000 trials.

It is never the truth. A coordinator folds the whole journal, and with it looks at every checksum; a
reader takes a snapshot only if it is whole, made by this very code and of this very journal: it
holds the checksum of its latest event, which covers all before. Else it is as if there were none.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

import msgspec

from launcher import events, numbered
from launcher import state as folding
from launcher.files import write_atomic
from launcher.journal import Journal
from launcher.numbered import Numbered
from launcher.state import State, Trial

_DIGEST_BYTES = 16


class _Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A state, its trials apart: as a plain sequence they decode in one go."""

    chain: str
    without_trials: State
    trials: tuple[Trial, ...]


def write(path: Path, state: State, journal: Journal) -> None:
    """Keep the state that `journal` gave; nothing happens where there is no room for it.

    Raises JournalError.
    """
    chain = journal.chain_at(state.seq)
    rest = msgspec.structs.replace(state, trials=Numbered())
    with suppress(OSError, OverflowError):  # no room; an integer beyond 64 bits
        body = _ENCODER.encode(_Snapshot(chain, rest, tuple(state.trials)))
        write_atomic(path, _digest(body) + body, is_durable=False)


def read(path: Path, journal: Journal) -> State | None:
    """Return the state kept at `path`, after the first events of `journal`; None if none fits.

    Raises JournalError.
    """
    try:
        content = path.read_bytes()
        digest, body = content[:_DIGEST_BYTES], memoryview(content)[_DIGEST_BYTES:]
        if digest != _digest(body):
            return None
        kept = _DECODER.decode(body)
    except (OSError, msgspec.DecodeError):
        return None
    if kept.chain != journal.chain_at(kept.without_trials.seq):
        return None
    return msgspec.structs.replace(kept.without_trials, trials=Numbered.of(kept.trials))


def _digest(body: bytes | memoryview) -> bytes:
    """Return a checksum over a snapshot and over the code that gives it its meaning."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for module in (events, numbered, folding):
        assert module.__file__ is not None  # they are files
        digest.update(Path(module.__file__).read_bytes())
    digest.update(body)
    return digest.digest()


_ENCODER = msgspec.msgpack.Encoder(enc_hook=lambda _no_trials: None)
_DECODER = msgspec.msgpack.Decoder(_Snapshot, dec_hook=lambda _type, _none: Numbered())
