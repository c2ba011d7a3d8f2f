"""The XGBoost model as ONNX, for ONNX Runtime on the JVM: MODEL.json MODEL.onnx

One TreeEnsembleRegressor that gives the margin: ONNX Runtime leaves `post_transform` out for a single target. The base
margin is in the leaves of the first tree, since XGBoost begins its sum with it and ONNX Runtime would end with it: so both
round alike.
"""
import json
import math
import sys

import numpy as np
from onnx import TensorProto, checker, helper, save

model = json.load(open(sys.argv[1]))["learner"]
score = float(model["learner_model_param"]["base_score"].strip("[]"))
base = np.float32(math.log(score / (1 - score)))
nodes = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
                               "missing_value_tracks_true")}
leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
for index, tree in enumerate(model["gradient_booster"]["model"]["trees"]):
    for node, (left, right) in enumerate(zip(tree["left_children"], tree["right_children"])):
        leaf = left == -1
        row = [index, node, 0 if leaf else tree["split_indices"][node], 0.0 if leaf else tree["split_conditions"][node],
               "LEAF" if leaf else "BRANCH_LT", 0 if leaf else left, 0 if leaf else right,
               0 if leaf else tree["default_left"][node]]
        for column, value in zip(nodes.values(), row):
            column.append(value)
        if leaf:
            weight = np.float32(tree["split_conditions"][node]) + (base if index == 0 else np.float32(0))
            for column, value in zip(leaves.values(), [index, node, 0, float(weight)]):
                column.append(value)
ensemble = helper.make_node(
    "TreeEnsembleRegressor", ["row"], ["margin"], domain="ai.onnx.ml", n_targets=1, aggregate_function="SUM",
    **{f"nodes_{name}": column for name, column in nodes.items()},
    **{f"target_{name}": column for name, column in leaves.items()})
graph = helper.make_graph(
    [ensemble], "fraud",
    [helper.make_tensor_value_info("row", TensorProto.FLOAT, [None, len(model["feature_names"])])],
    [helper.make_tensor_value_info("margin", TensorProto.FLOAT, [None, 1])])
# Versions that ONNX Runtime has known for years.
onnx = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])
checker.check_model(onnx)
save(onnx, sys.argv[2])
