package org.tensorflow.lite

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.bytedeco.javacpp.BytePointer
import org.bytedeco.javacpp.Pointer
import org.bytedeco.tensorflowlite.BuiltinOpResolverWithXNNPACK
import org.bytedeco.tensorflowlite.FlatBufferModel
import org.bytedeco.tensorflowlite.Interpreter as NativeInterpreter
import org.bytedeco.tensorflowlite.InterpreterBuilder
import org.bytedeco.tensorflowlite.TfLiteDelegate
import org.bytedeco.tensorflowlite.TfLiteTensor
import org.tensorflow.lite.schema.BuiltinOperator
import org.tensorflow.lite.schema.Model

/**
 * Replaces TensorFlow Lite's class of this name in tests, as far as the demo uses it: inputs and outputs are buffers.
 *
 * Android's own does not load on a computer. This one calls the C++ API of a desktop build, which uses XNNPACK as Android
 * does. Only the class path of the tests contains it, where it precedes Android's.
 */
class Interpreter @JvmOverloads constructor(content: ByteBuffer, options: Options = Options()) : AutoCloseable {
    /** The number of threads and the delegates, as on Android. */
    class Options : InterpreterApi.Options() {
        override fun setNumThreads(threads: Int): Options = apply { super.setNumThreads(threads) }

        override fun addDelegate(delegate: Delegate): Options = apply { super.addDelegate(delegate) }
    }

    private val bytes = BytePointer(content.remaining().toLong()).apply { asByteBuffer().put(content.duplicate()) }
    private val model: FlatBufferModel
    private val operators = BuiltinOpResolverWithXNNPACK()
    private val native = NativeInterpreter(null as Pointer?)

    init {
        val read = FlatBufferModel.VerifyAndBuildFromBuffer(bytes, bytes.capacity())
        model = requireNotNull(read) { "ByteBuffer is not a valid TensorFlow Lite model flatbuffer" }
        val builder = InterpreterBuilder(model, operators)
        // Threads wait in busy loops, so more threads than processors would block each other.
        builder.SetNumThreads(minOf(options.numThreads, Runtime.getRuntime().availableProcessors()))
        for (delegate in options.delegates) builder.AddDelegate(TfLiteDelegate(Address(delegate.nativeHandle)))
        require(builder.apply(native) == OK) { "Internal error: Cannot create interpreter: ${missing(content)}" }
        check(native.AllocateTensors() == OK) { "Internal error: Unexpected failure when preparing tensor allocations" }
    }

    fun runForMultipleInputsOutputs(inputs: Array<Any>, outputs: Map<Int, Any>) {
        for ((index, input) in inputs.withIndex()) copy(input, data(native.input_tensor(index.toLong())))
        check(native.Invoke() == OK) { "Internal error: Failed to run on the given Interpreter" }
        for ((index, output) in outputs) (output as ByteBuffer).put(data(native.output_tensor(index.toLong())))
    }

    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, signatureKey: String) {
        val signature = requireNotNull(native.GetSignatureRunner(signatureKey)) { "Invalid signature: $signatureKey" }
        check(signature.AllocateTensors() == OK) { "Internal error: Unexpected failure when preparing tensors" }
        for ((name, input) in inputs) copy(input, data(signature.input_tensor(name)))
        check(signature.Invoke() == OK) { "Internal error: Failed to run on the given Interpreter" }
        for ((name, output) in outputs) (output as ByteBuffer).put(data(signature.output_tensor(name)))
    }

    private fun copy(input: Any, tensor: ByteBuffer) {
        val given = (input as ByteBuffer).duplicate().apply { rewind() }
        require(given.remaining() == tensor.remaining()) {
            "Cannot copy to a TensorFlowLite tensor with ${tensor.remaining()} bytes " +
                "from a Java Buffer with ${given.remaining()} bytes."
        }
        tensor.put(given)
    }

    override fun close() {
        native.deallocate()
        model.deallocate()
        bytes.deallocate()
    }

    private fun data(tensor: TfLiteTensor) = tensor.data().raw().capacity(tensor.bytes()).asByteBuffer()

    /** Returns the C++ library's message about a missing operator, which that only writes to a log. */
    private fun missing(content: ByteBuffer): String {
        val model = Model.getRootAsModel(content.duplicate().order(ByteOrder.LITTLE_ENDIAN))
        for (code in List(model.operatorCodesLength(), model::operatorCodes)) {
            val number = maxOf(code.builtinCode(), code.deprecatedBuiltinCode().toInt())
            if (number == BuiltinOperator.CUSTOM || operators.FindOp(number, code.version()) != null) continue
            val name = BuiltinOperator.names.getOrElse(number) { "$number" }
            return "Didn't find op for builtin opcode '$name' version '${code.version()}'."
        }
        return "Encountered unresolved custom op"
    }

    private class Address(place: Long) : Pointer() {
        init {
            address = place
        }
    }

    private companion object {
        const val OK = 0
    }
}
