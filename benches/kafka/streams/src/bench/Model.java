package bench;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.Set;

/**
 * The XGBoost model in ONNX Runtime. Of what the JVM can call it is the fastest for one row (XGBoost4J makes a matrix of
 * each row, 33 µs). Tensors are made once and written again for each row. For one thread.
 */
final class Model {
    private final OrtSession session;
    private final FloatBuffer row = floats(10);
    private final FloatBuffer margin = floats(1);
    private final Map<String, OnnxTensor> inputs;
    private final Map<String, OnnxTensor> outputs;

    Model(String path) throws OrtException {
        OrtEnvironment environment = OrtEnvironment.getEnvironment();
        OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        session = environment.createSession(path, options);
        inputs = Map.of("row", OnnxTensor.createTensor(environment, row, new long[] {1, 10}));
        outputs = Map.of("margin", OnnxTensor.createTensor(environment, margin, new long[] {1, 1}));
    }

    float score(double[] features) {
        for (int i = 0; i < features.length; i++) {
            row.put(i, (float) features[i]);
        }
        try {
            session.run(inputs, Set.of(), outputs).close();
            return (float) (1 / (1 + Math.exp(-margin.get(0))));
        } catch (OrtException error) {
            throw new IllegalStateException(error);
        }
    }

    private static FloatBuffer floats(int count) {
        return ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder()).asFloatBuffer();
    }
}
