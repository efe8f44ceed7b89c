"""Runs files in an interpreter of another package: `client.py litert|tensorflow|tflite_runtime LIBRARY JOBS`.

JOBS is a JSON file with a list of `[model, inputs.npy, outputs.npy, threads]`. Only the interpreter and numpy are
imported.
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
    runs = json.load(file)
for model, inputs, outputs, threads in runs:
    delegate = load_delegate(library)
    interpreter = Interpreter(model, experimental_delegates=[delegate], num_threads=threads)
    results = []
    for example in np.load(inputs):
        index = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(index, example.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, example)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.save(outputs, np.stack(results))
