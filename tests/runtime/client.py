"""Runs files in an interpreter that is not this package's: `client.py litert|tensorflow|tflite_runtime LIBRARY JOBS`.

JOBS is a JSON list of `[model, inputs.npy, outputs.npy, threads]`; only that interpreter and numpy are imported.
"""

import json
import sys

import numpy as np

kind, library, jobs = sys.argv[1:]
if kind == "litert":
    from ai_edge_litert.interpreter import Interpreter, load_delegate
elif kind == "tensorflow":
    import tensorflow as tf

    Interpreter, load_delegate = tf.lite.Interpreter, tf.lite.experimental.load_delegate
else:
    from tflite_runtime.interpreter import Interpreter, load_delegate

with open(jobs) as file:
    todo = json.load(file)
for model, inputs, outputs, threads in todo:
    delegate = load_delegate(library)
    interpreter = Interpreter(model, experimental_delegates=[delegate], num_threads=threads)
    found = []
    for example in np.load(inputs):
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, example.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, example)
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.save(outputs, np.stack(found))
