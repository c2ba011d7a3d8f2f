"""Trains the models of the benchmark and compiles them with the rivals that are compilers.

    train.py FOLDER

Everything is seeded: the same versions give the same models. What stands in FOLDER already is left alone.
"""

import os
import pathlib
import subprocess
import sys

import lightgbm
import lleaves
import numpy as np
import skl2onnx
import tl2cgen
import treelite
import xgboost
from sklearn.ensemble import IsolationForest, RandomForestClassifier

FEATURES = 30
ROWS = 60_000
EVENTS = 4096


def data(seed, rows, missing):
    """Card-payment-like columns: amounts with long tails, counts, shares, few-valued codes; a twentieth missing."""
    rng = np.random.default_rng(seed)
    x = np.empty((rows, FEATURES))
    for column in range(FEATURES):
        kind = column % 5
        x[:, column] = (
            rng.lognormal(3, 1.5, rows) if kind == 0
            else rng.poisson(4, rows) if kind == 1
            else rng.random(rows) if kind == 2
            else rng.integers(0, 24, rows) if kind == 3
            else rng.normal(0, 100, rows)
        )
    score = (
        0.8 * np.log1p(x[:, 0]) - 0.3 * x[:, 1] + 2 * x[:, 2] * (x[:, 3] < 6) + 0.01 * x[:, 4]
        + 0.2 * x[:, 6] * (x[:, 7] > 0.5) - 0.02 * x[:, 9] * (x[:, 8] > 12) + 0.3 * np.sin(x[:, 14] / 30) * np.log1p(x[:, 10])
        + 0.5 * (x[:, 15] > 40) * (x[:, 22] - 0.5) + 0.1 * x[:, 26] * (x[:, 28] > 8)
    )
    y = (score + rng.normal(0, 1, rows) > np.quantile(score, 0.9)).astype(int)
    if missing:
        x[rng.random(x.shape) < 0.05] = np.nan
    # The frameworks' own numbers on float32 and float64 are then the same, and every rival reads the same values.
    return x.astype(np.float32).astype(np.float64), y


def compile_treelite(model, folder, name):
    library = folder / f"{name}.tl2cgen.so"
    if not library.exists():
        tl2cgen.export_lib(model, toolchain="gcc", libpath=str(library), params={"parallel_comp": 25}, nthread=2)


def xgb(folder, name, trees, depth):
    path = folder / f"{name}.ubj"
    if not path.exists():
        x, y = data(1, ROWS, True)
        parameters = dict(objective="binary:logistic", max_depth=depth, eta=0.1, nthread=2, seed=1)
        xgboost.train(parameters, xgboost.DMatrix(x, y), trees).save_model(path)
    compile_treelite(treelite.frontend.load_xgboost_model(path), folder, name)


def lgbm(folder, name, trees, leaves):
    path = folder / f"{name}.txt"
    if not path.exists():
        x, y = data(1, ROWS, True)
        parameters = dict(objective="binary", num_leaves=leaves, learning_rate=0.05, num_threads=2, seed=1,
                          deterministic=True, verbose=-1)
        lightgbm.train(parameters, lightgbm.Dataset(x, y), trees).save_model(path)
    compile_treelite(treelite.frontend.load_lightgbm_model(path), folder, name)
    library = folder / f"{name}.lleaves.so"
    if not library.exists():
        cache = folder / f"{name}.lleaves.o"
        model = lleaves.Model(model_file=str(path))
        # Inlined, the large model takes LLVM more than half an hour; its makers advise against it, too.
        model.compile(cache=str(cache), raw_score=True, finline=trees * leaves < 10_000)
        subprocess.run(["cc", "-shared", "-o", library, cache, "-lm"], check=True)


def sklearn(folder, name, model, missing_y):
    path = folder / f"{name}.onnx"
    library = folder / f"{name}.tl2cgen.so"
    if path.exists() and library.exists():
        return
    x, y = data(1, ROWS // 3, False)
    model.fit(x.astype(np.float32), None if missing_y else y)
    kind = skl2onnx.common.data_types.FloatTensorType([None, FEATURES])
    options = {id(model): {"score_samples": True}} if missing_y else {id(model): {"zipmap": False}}
    onnx = skl2onnx.to_onnx(model, initial_types=[("x", kind)], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    path.write_bytes(onnx.SerializeToString())
    compile_treelite(treelite.sklearn.import_model(model), folder, name)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    for missing in (True, False):
        x, _ = data(2, EVENTS, missing)
        x.tofile(folder / ("events-missing.f64" if missing else "events.f64"))
    xgb(folder, "xgb-100x6", 100, 6)
    lgbm(folder, "lgbm-100x31", 100, 31)
    forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=3, random_state=1, n_jobs=2)
    sklearn(folder, "iforest-100", IsolationForest(n_estimators=100, random_state=1), True)
    sklearn(folder, "rf-100", forest, False)
    xgb(folder, "xgb-500x8", 500, 8)
    lgbm(folder, "lgbm-500x127", 500, 127)


if __name__ == "__main__":
    main()
