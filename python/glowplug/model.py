"""Loading models and scoring with them."""

from __future__ import annotations

import os

from glowplug import _core
from glowplug.errors import InputTypeError, ModelError, OptionError, OptionTypeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Any, Literal, Self

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from glowplug._core import ModelStats, TensorSpec
    from glowplug.display import Explanation

    Engine = Literal["auto", "native", "onnxruntime"]
    Batch = Literal["auto", "serial", "rows"]
    Casting = Literal["same_kind", "strict"]
    Optimization = Literal["all", "extended", "basic", "off"]
    Inputs = ArrayLike | Mapping[str, ArrayLike]
    Output = Literal["score", "margin", "leaf"]
    Method = Literal["predict", "predict_proba", "run", "margin", "leaf", "contributions"]
    Progress = Callable[[int, int], object]
    Row = Iterable[Any] | Mapping[str, Any] | float | str | bytes | None

#: Seconds between looks at a model's file with `reload=True`.
RELOAD_SECONDS = 1.0
_MOST_INT64 = 2**63 - 1


def load(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview,
    *,
    threads: int | None = None,
    engine: Engine = "auto",
    batch: Batch = "auto",
    optimization: Optimization = "all",
    casting: Casting = "same_kind",
    reload: bool | float = False,
    features: Iterable[str] | None = None,
) -> Model:
    """Load a model, or find it if this process has loaded it before.

    The same content with the same options is loaded once per process, however often and from wherever `load` is called, so
    calling it in the body of a handler costs a look at the file's time stamp when warm.

    Args:
        source: Path of an ONNX file (or of ONNX Runtime's `.ort` format), of what LightGBM (text, JSON), XGBoost (JSON,
            UBJSON) or CatBoost (JSON) saved, or of what `glowplug.convert` made, or the content of one as bytes. Which it
            is, the content says. A path loads faster and in less memory; external data needs a path.
        threads: Threads one call may use. The default is as many as the CPUs that this process may really use (see
            `resources`), so one below two CPUs.
        engine: What runs the model. `"auto"` takes glowplug's own engine where it knows every operator of the graph, and
            ONNX Runtime for all other graphs; `"native"` makes it an error that names what is not known; `"onnxruntime"`
            never takes our own. `explain` says which it is, and why.
        batch: How calls of many rows are run. `"auto"` cuts them by rows into pieces, for all threads, where the graph
            proves that no row depends on another one, the first rows agree, and it is faster; `"rows"` does so without the
            proof; `"serial"` passes all rows to the engine at once, which then may use the threads inside operators.
            `explain` says what was chosen and why.
        optimization: How far the engine may rewrite the graph when it loads it.
        casting: What is done with inputs of another dtype. `"same_kind"` rounds floats to the model's float dtype and
            takes whole numbers where every value can be represented; `"strict"` refuses whatever could lose precision.
        reload: `True`, or a number of seconds, to look at the file at most once a second, or as often as said, when the
            model is used, and to go over to the new content when it has changed. A new file that is broken or half written
            leaves the old model in use and warns once.
        features: Names of the columns of the one input `[N, k]`, in the model's order, by which rows can be mappings and
            frames are put in order. The default is what the model's metadata has under `feature_names`: a JSON array of
            strings, or names separated by commas.

    Raises:
        ModelNotFoundError: The file, or one with its external data, does not exist.
        ModelReadError: The file cannot be read.
        ModelError: The content is not a usable model.
        UnsupportedModelError: The model needs an opset, an operator or a kind of tree that the engine does not have.
        LibraryError: ONNX Runtime's shared library is missing, broken or too old.
        OptionError: An option has a value outside its range.
    """
    if threads is not None:
        threads = _whole_number(threads)
    if casting not in ("same_kind", "strict"):
        subject, problem = "option `casting`", f'got {casting!r}, expected "same_kind" or "strict"'
        raise OptionError.about(subject, problem, "leave `casting` out to allow rounding to the model's float dtype")
    if not isinstance(engine, str):
        subject, problem = "option `engine`", f'got {engine!r}, expected "auto", "native" or "onnxruntime"'
        raise OptionTypeError.about(subject, problem, "leave `engine` out to let glowplug choose")
    if not isinstance(batch, str):
        subject, problem = "option `batch`", f'got {batch!r}, expected "auto", "serial" or "rows"'
        raise OptionTypeError.about(subject, problem, "leave `batch` out to let glowplug choose")
    if not isinstance(optimization, str):
        subject, problem = (
            "option `optimization`",
            f'got {optimization!r}, expected "all", "extended", "basic" or "off"',
        )
        raise OptionTypeError.about(subject, problem, "leave `optimization` out for the fastest warm runs")
    if isinstance(source, (bytes, bytearray, memoryview)):
        if reload is not False:
            subject, problem = "option `reload`", "got bytes as source, which cannot change"
            raise OptionError.about(subject, problem, "pass a path, or leave `reload` out")
        return _named(Model(_core.load_bytes(bytes(source), threads, engine, batch, optimization), casting), features)
    path = source if isinstance(source, str) else _path(source)
    interval = None if reload is False else _seconds(reload)
    return _named(Model(_core.load_path(path, threads, engine, batch, optimization, interval), casting), features)


def _whole_number(threads: object) -> int:
    if isinstance(threads, int) and not isinstance(threads, bool):
        return min(max(threads, -1), _MOST_INT64)
    subject, problem = "option `threads`", f"got {threads!r}, expected a whole number or None"
    raise OptionTypeError.about(subject, problem, "leave `threads` out to let glowplug choose")


def _path(source: object) -> str:
    try:
        return os.fsdecode(source)  # type: ignore[arg-type]
    except TypeError:
        subject, problem = "option `source`", f"got {type(source).__name__}, expected a path or the bytes of a model"
        fix = 'pass for example `glowplug.load("model.onnx")`'
        if hasattr(source, "predict"):
            fix = "load what its `save_model` wrote, or what `glowplug.convert.from_sklearn` makes of an estimator"
        raise OptionTypeError.about(subject, problem, fix) from None


def _seconds(reload: object) -> float:
    if reload is True:
        return RELOAD_SECONDS
    if isinstance(reload, (int, float)):
        return float(reload)
    subject, problem = "option `reload`", f"got {reload!r}, expected True, False or a number of seconds"
    raise OptionTypeError.about(subject, problem, "pass for example `reload=10.0`")


def _named(model: Model, features: Iterable[str] | None) -> Model:
    if features is None:
        return model
    subject, fix = "option `features`", 'pass the names of the columns, for example `features=["amount", "hour"]`'
    if isinstance(features, str) or not hasattr(features, "__iter__"):
        raise OptionTypeError.about(subject, f"got {features!r}, expected a list of names", fix)
    names = list(features)
    for name in names:
        if not isinstance(name, str):
            raise OptionTypeError.about(subject, f"got {name!r}, expected names that are strings", fix)
    return Model(model._handle.named(names), model._casting)  # noqa: SLF001 - a function of this module


class Model:
    """A loaded model; `load` makes it.

    It is cheap: models of one content share one session. Any number of threads may use one at once. It can be pickled, as
    a reference to its file that is checked where it is unpickled. As a context manager it closes itself at the end.
    """

    __slots__ = ("__weakref__", "_casting", "_handle")

    def __init__(self, handle: _core.ModelHandle, casting: Casting = "same_kind") -> None:
        """Wrap a handle of the core; use `load` instead."""
        self._handle = handle
        self._casting = casting

    def predict(
        self,
        inputs: Inputs,
        /,
        *,
        output: Output | None = None,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> NDArray[Any]:
        """Score rows.

        Args:
            inputs: For a model with one input, its value: an array `[rows, …]`, or anything NumPy makes one of. A 1-D array
                for an input `[N, k]` is one row; for an input `[N, 1]` it is n rows of one value, and a scalar is one row.
                For several inputs, a mapping from input name to such values. An array that is C-contiguous and of the
                model's dtype is read in place, without a copy; it must not be written to during the call.
            output: What to answer. `"score"`, the default, is the model's first output. Trees of a library's own file have
                two more. `"margin"` is the sum of a row's leaves before the link makes a score of it: `[rows]`, or
                `[rows, classes]`, in the dtype of the scores. `"leaf"` is the leaf that a row comes to in each tree:
                `[rows, trees]` of int32, numbered as by the library (`pred_leaf=True` there).
            progress: Called now and then during a long batch with the numbers of rows done and in all, and at the end. What
                it raises ends the batch.
            timeout: Seconds that the call may take. When they are over the run is ended inside the engine, at its next
                operator. What is not above 0 is over at once; `None` is no bound.

        Returns:
            The model's first output: an array `[rows, …]`; class labels for most classifiers. A first output that is a
            sequence or map comes as a list or dict.

        Raises:
            InputError: Names, shapes or values do not fit the model.
            InputTypeError: The dtype does not fit the model.
            OptionError: `output` is none of the three.
            UnsupportedModelError: The model has no margins or leaves.
            EngineError: The engine failed while it ran.
            DeadlineExceeded: `timeout` was over first.
            OutOfMemoryError: There is not enough memory for the outputs.
        """
        if output is not None and output != "score":
            if output not in ("margin", "leaf"):
                subject, problem = "option `output`", f'got {output!r}, expected "score", "margin" or "leaf"'
                raise OptionError.about(subject, problem, "leave `output` out for the model's first output")
            return self._view(inputs, output, progress, timeout)  # type: ignore[no-any-return]
        answer = self._handle.predict(inputs, 0, progress, timeout)
        if answer is NotImplemented:
            prepared, copied = self._prepare(inputs)
            answer = _answered(self._handle.predict(prepared, copied, progress, timeout))
        return answer  # type: ignore[no-any-return]

    def predict_proba(
        self, inputs: Inputs, /, *, progress: Progress | None = None, timeout: float | None = None
    ) -> NDArray[np.floating[Any]]:
        """Score rows with a classifier.

        Args:
            inputs: As for `predict`.
            progress: As for `predict`.
            timeout: As for `predict`.

        Returns:
            Probabilities `[rows, classes]`, the columns in the order of `classes`, whatever form the model gives them in: a
            list of dicts (ZipMap), a matrix, or only the column of the second of two classes.

        Raises:
            InputError: As for `predict`; also if no output is known to hold probabilities.
        """
        answer = self._handle.predict_proba(inputs, 0, progress, timeout)
        if answer is NotImplemented:
            prepared, copied = self._prepare(inputs)
            answer = _answered(self._handle.predict_proba(prepared, copied, progress, timeout))
        return answer  # type: ignore[no-any-return]

    def contributions(
        self, inputs: Inputs, /, *, progress: Progress | None = None, timeout: float | None = None
    ) -> NDArray[np.float64]:
        """Say why rows get their scores: how much each feature moves a row's margin away from what is expected.

        These are exact Shapley values, of trees in which a feature that is not known takes each branch with the branch's
        share of the training (path-dependent TreeSHAP): what LightGBM gives for `pred_contrib=True`, XGBoost for
        `pred_contribs=True` and CatBoost as `ShapValues`. The first call reads the model's file a second time, for the
        shares.

        Args:
            inputs: As for `predict`.
            progress: As for `predict`.
            timeout: As for `predict`.

        Returns:
            float64 `[rows, features + 1]`, for several classes or targets `[rows, classes, features + 1]`. The last column
            is the expected value, the same for all rows. The sum of a row is its margin: `predict(…, output="margin")`.

        Raises:
            InputError: As for `predict`.
            ModelReadError: The file has changed or gone since the model was loaded, or the model was loaded from bytes, and
                no file of the same content was.
            UnsupportedModelError: The model is neither a tree library's own file nor a converted estimator; ONNX does not keep
                the shares.
        """
        return self._view(inputs, "contributions", progress, timeout)  # type: ignore[no-any-return]

    def run(
        self,
        inputs: Inputs,
        outputs: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Run the model with every input and output by name.

        Args:
            inputs: As for `predict`. Inputs with a default value may be left out.
            outputs: Names of the outputs to compute; all if left out.
            progress: As for `predict`.
            timeout: As for `predict`.

        Returns:
            A dict from output name to value, in the order asked for: an array, a list for a sequence, a dict for a map,
            `None` for an optional output without a value.

        Raises:
            InputError: As for `predict`; also for unknown output names.
        """
        answer = self._handle.run(inputs, outputs, 0, progress, timeout)
        if answer is NotImplemented:
            prepared, copied = self._prepare(inputs)
            answer = _answered(self._handle.run(prepared, outputs, copied, progress, timeout))
        return answer  # type: ignore[no-any-return]

    def predict_iter(self, batches: Iterable[Inputs], /) -> Iterator[NDArray[Any]]:
        """Score batch after batch, for inputs that do not fit into memory together.

        Args:
            batches: Inputs as for `predict`; the next is asked for when its answer is.

        Yields:
            The answer of `predict` to each batch, in their order.

        Raises:
            InputError: As for `predict`, at the batch that does not fit.
        """
        for batch in batches:
            yield self.predict(batch)

    def predict_json(
        self,
        body: bytes | str | bytearray | memoryview,
        /,
        *,
        method: Method = "predict",
        timeout: float | None = None,
    ) -> bytes:
        """Score the rows of a JSON document, and answer in JSON.

        Everything happens in the core, without the interpreter and its lock, and without NumPy.

        Args:
            body: A list of rows; one row alone; `{"instances": [row, …]}` (TensorFlow Serving, Vertex AI); `{"inputs": …}`
                with whole inputs (TensorFlow Serving's column format) or with tensors of the Open Inference Protocol. A row
                is a list of values, an object of named features or inputs, or one value where the model takes one.
                `null`, `NaN` and `Infinity` are taken for floats, `null` as NaN; whole numbers may be written as `1.0`.
            method: What a prediction is: `"predict"` for the first output, `"predict_proba"` for the probabilities of the
                classes, `"run"` for an object of all outputs, `"margin"`, `"leaf"` and `"contributions"` as for
                `predict_rows`. The outputs that a request of the Open Inference Protocol names come first; in its answers
                contributions are the tensor that `contributions` gives.
            timeout: As for `predict`.

        Returns:
            UTF-8: a list of predictions, one prediction for one row, `{"predictions": […]}` for `instances`,
            `{"outputs": …}` for the column format, or a response of the Open Inference Protocol. Floats are written with the
            fewest digits that give the same number again; NaN and infinity, which JSON does not have, become `null`.

        Raises:
            InputError: The body is not JSON, or its rows do not fit the model; the message names the row, counted from 0.
            InputTypeError: A value is of the wrong kind, such as text for a number; or `body` is.
            OptionError: An unknown `method`.
            EngineError: The engine failed while it ran.
            DeadlineExceeded: `timeout` was over first.
            OutOfMemoryError: There is not enough memory for the outputs.
        """
        return self._handle.predict_json(body, method, timeout)

    def predict_rows(
        self,
        rows: Iterable[Row],
        *,
        method: Method = "predict",
        timeout: float | None = None,
    ) -> Any:
        """Score rows of plain Python; NumPy is neither needed nor imported.

        Args:
            rows: Any iterable of rows. A row is a sequence or other iterable of values, one for each column of the input
                `[N, k]`, or for each input of a model with several; or a mapping by the names in `features` or of the
                inputs; or, for an input `[N]` or `[N, 1]`, a value itself. Values are numbers, bools, text, bytes in UTF-8
                and whatever has `__float__` or `__index__`. They are converted as `predict` converts lists: rounded into
                float dtypes, exact in others. `None` is NaN where the model wants floats. `casting` makes no difference:
                numbers of Python have no dtype.
            method: What to answer, named after the method that gives the same as arrays.
            timeout: As for `predict`.

        Returns:
            A list with an entry for each row, as `tolist()` of the array would give it. `"predict"`: the entries of the
            first output: numbers, lists, text, or dicts for a sequence of maps. `"predict_proba"`: probabilities in the
            order of `classes`. `"run"`: a dict from output name to such a list. `"margin"` and `"leaf"`: what `predict` gives
            for that `output`. `"contributions"`: a dict for each row, `{"expected_value": float, "contributions": {name:
            float, …}}`, with a list in the place of the inner dict if neither `features` nor columns have names; for several
            classes a list of such dicts. An output that has no rows comes as it is. Without rows each list is empty, and the
            model does not run.

        Raises:
            InputError: A row does not fit the model; the message has its index.
            InputTypeError: A value has a type that does not fit.
            OptionError: An unknown `method`.
            UnsupportedModelError: The model has no margins, leaves or contributions.
            EngineError: The engine failed while it ran.
            DeadlineExceeded: `timeout` was over first.
        """
        return self._handle.predict_rows(rows, method, timeout)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs: name, dtype, shape with symbolic dimensions as names, and whether it is required."""
        return self._handle.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs: name, dtype and shape."""
        return self._handle.outputs

    @property
    def classes(self) -> list[int] | list[str] | None:
        """Class labels in the order of the columns of `predict_proba`; `None` if the model does not name them."""
        return self._handle.classes

    @property
    def features(self) -> list[str] | None:
        """Names of the columns of the one input `[N, k]`; `None` if neither `load` nor the model's metadata has them."""
        return self._handle.features

    def explain(self) -> Explanation:
        """Say how the model runs and why: engine and version, threads, memory, optimisation, opsets.

        Returns:
            A dict that prints as a table. `why` says why it is this `engine`, `threads_why` and `batch_why` what threads are
            for and how large batches are run, `kernel` how glowplug's own engine computes. `threads` is how many one call
            may use: `row_threads` share the rows of a batch, `intra_op_threads` the work inside one run.
        """
        from glowplug.display import Explanation

        return Explanation(self._handle.explain())

    def stats(self) -> ModelStats:
        """Count what the session has done in this process, for all holders together.

        Returns:
            A dict: `calls`, `rows`, `errors`, `cold` (no call yet), `zero_copy_inputs` and `copied_inputs` (inputs read in
            place or copied first), `load_ms`, `first_run_us`, `p50_us` and `p99_us` (of run times, at most 1/8 above the
            true percentile), `busy_ms` (all run times together).
        """
        return self._handle.stats()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._handle.closed

    def close(self) -> None:
        """Give the model up. Its session is unloaded if no other model in the process shares it."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        from glowplug.display import model_text

        return model_text(self)

    def _repr_html_(self) -> str:
        from glowplug.display import model_html

        return model_html(self)

    def __copy__(self) -> Model:
        return Model(self._handle.duplicate(), self._casting)

    def __deepcopy__(self, memo: object) -> Model:
        return Model(self._handle.duplicate(), self._casting)

    def __reduce__(self) -> tuple[Any, ...]:
        path, threads, engine, batch, optimization, reload = self._handle.reference()
        digest, features = self._handle.digest(), self._handle.given_features
        return _unpickle, (
            os.fspath(path),
            threads,
            engine,
            batch,
            optimization,
            self._casting,
            reload,
            digest,
            features,
        )

    def _view(self, inputs: Inputs, view: str, progress: Progress | None, timeout: float | None) -> Any:
        answer = self._handle.view(inputs, view, 0, progress, timeout)
        if answer is NotImplemented:
            prepared, copied = self._prepare(inputs)
            answer = _answered(self._handle.view(prepared, view, copied, progress, timeout))
        return answer

    def _prepare(self, inputs: Inputs) -> tuple[Any, int]:
        # The policy for everything but ready arrays: imported only when needed, because it needs NumPy.
        from glowplug.inputs import prepare

        return prepare(self._handle, inputs, self._casting)


def _answered(answer: Any) -> Any:
    if answer is NotImplemented:
        # Only a model that was reloaded with other inputs between the two looks at it gets here.
        subject, problem = "inputs", "got arrays that do not fit the model any more, which changed meanwhile"
        raise InputTypeError.about(subject, problem, "call again")
    return answer


def _unpickle(
    path: str,
    threads: int | None,
    engine: Engine,
    batch: Batch,
    optimization: Optimization,
    casting: Casting,
    reload: float | None,
    digest: str,
    features: list[str] | None = None,
) -> Model:
    model = load(
        path,
        threads=threads,
        engine=engine,
        batch=batch,
        optimization=optimization,
        casting=casting,
        reload=False if reload is None else reload,
    )
    found = model._handle.digest()  # noqa: SLF001 - a function of this module
    if found != digest:
        subject, problem = (
            f"{path}",
            f"got content with digest {found[:12]}…, expected {digest[:12]}…, that of the model that was pickled",
        )
        raise ModelError.about(subject, problem, "put the same model file in this place on every machine")
    return _named(model, features)
