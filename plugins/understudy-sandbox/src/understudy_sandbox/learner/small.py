"""The default learner: linear models and copied spans. Small, fast, and honest about its loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from understudy_sandbox.learner.base import Measure, Settings
from understudy_sandbox.learner.features import DocumentFeatures
from understudy_sandbox.learner.fields import pooled_or_zero
from understudy_sandbox.learner.forms import (
    CALLS,
    OBJECT,
    TEXT,
    CallsAnswer,
    Form,
    JsonAnswer,
    TextAnswer,
    form_of,
)
from understudy_sandbox.learner.linear import Decision, Part, Score
from understudy_sandbox.learner.rows import Answer, Prompt, Sample
from understudy_sandbox.learner.space import Space

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSES_PER_EPOCH = 2  # a linear model needs more looks at a row than a pretrained one
_MAKERS: Mapping[str, type[TextAnswer | JsonAnswer | CallsAnswer]] = {
    TEXT: TextAnswer,
    OBJECT: JsonAnswer,
    CALLS: CallsAnswer,
}
_FIRST_LOOKS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
_CHUNK = 4096
_HELD = 500  # validation rows looked at after each part


class SmallModel:
    """A fitted model: one part for each form of answer, and a decision among them."""

    def __init__(self, samples: Sequence[Sample], settings: Settings) -> None:
        self._documents = DocumentFeatures()
        prompts = [s.prompt for s in samples]
        matrix = self._documents.fit(prompts)
        names = [form_of(s.answer) for s in samples]
        often = Counter(names)
        kept = {n for n, k in often.items() if k >= max(1, len(samples) // 100)}
        rows = [i for i, name in enumerate(names) if name in kept]
        whole = Space(prompts, self._documents, matrix)
        self._space = whole.subset(rows)
        self._gate = Decision(
            [names[i] for i in rows],
            columns=matrix.shape[1],
            seed=settings.seed,
            rate=settings.rate,
        )
        self._forms: dict[str, Form] = {}
        for name in sorted(kept):
            own = [i for i in rows if names[i] == name]
            self._forms[name] = _MAKERS[name.split()[0]](
                [samples[i].answer for i in own],
                whole.subset(own),
                seed=settings.seed,
                rate=settings.rate,
            )

    def learn(self, part: Part) -> None:
        """Part of a pass over all the rows."""
        self._gate.learn(self._space.matrix, part)
        for form in self._forms.values():
            form.learn(part)

    def measure(self) -> Score:
        """Loss and accuracy over the training rows, decisions pooled."""
        scores = [s for form in self._forms.values() for s in form.measure()]
        if len(self._forms) > 1:
            scores.append(self._gate.measure(self._space.matrix))
        return pooled_or_zero(scores)

    def space_of(self, prompts: Sequence[Prompt]) -> Space:
        """Other rows in this model's numbers."""
        return Space(prompts, self._documents)

    def measure_on(self, samples: Sequence[Sample], space: Space) -> Score:
        """Loss and accuracy over other rows, whose space is made once."""
        names = [form_of(s.answer) for s in samples]
        scores = []
        for name, form in self._forms.items():
            own = [i for i, n in enumerate(names) if n == name]
            if own:
                scores += form.measure_on([samples[i].answer for i in own], space.subset(own))
        if len(self._forms) > 1:
            scores.append(self._gate.measure(space.matrix, names))
        return pooled_or_zero(scores)

    def answer_many(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """The answer to every prompt, in order."""
        answers: list[Answer] = []
        for at in range(0, len(prompts), _CHUNK):
            answers += self._answer_chunk(prompts[at : at + _CHUNK])
        return answers

    def _answer_chunk(self, prompts: Sequence[Prompt]) -> list[Answer]:
        space = Space(prompts, self._documents)
        if len(self._forms) == 1:
            return next(iter(self._forms.values())).answers(space)
        made: list[Answer] = [Answer(content="")] * len(prompts)
        chosen = self._gate.choose(space.matrix)
        for name in set(chosen):
            own = [i for i, n in enumerate(chosen) if n == name]
            answers = self._forms[name].answers(space.subset(own))
            for i, answer in zip(own, answers, strict=True):
                made[i] = answer
        return made


class SmallLearner:
    """Fits a ``SmallModel`` pass by pass and reports after each."""

    def fit(
        self,
        samples: Sequence[Sample],
        validation: Sequence[Sample],
        settings: Settings,
        on_measure: Callable[[Measure], None],
    ) -> SmallModel:
        """See ``Learner.fit``."""
        model = SmallModel(samples, settings)
        total = settings.epochs * PASSES_PER_EPOCH
        held = validation[:_HELD]
        space = model.space_of([s.prompt for s in held])
        for part in _parts(total):
            model.learn(part)
            here = model.measure()
            there = model.measure_on(held, space) if held else None
            on_measure(
                Measure(
                    fraction=(part.number - 1 + part.end) / total,
                    train_loss=here.loss,
                    train_accuracy=here.accuracy,
                    valid_loss=there.loss if there else None,
                    valid_accuracy=there.accuracy if there else None,
                )
            )
        return model


def _parts(passes: int) -> Iterator[Part]:
    # Nearly all is learned in the first pass: a curve with a point a pass would look flat.
    begin = 0.0
    for end in _FIRST_LOOKS:
        yield Part(number=1, begin=begin, end=end)
        begin = end
    for number in range(2, passes + 1):
        yield Part(number=number)
