package bench;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;

/**
 * The fraud job on Kafka Streams: one stream thread, exactly_once_v2, everything else as it comes.
 *
 * <p>Arguments are {@code --name value}. It runs until it is killed.
 */
public final class Main {
    public static void main(String[] words) throws Exception {
        Map<String, String> args = new HashMap<>();
        for (int i = 0; i + 1 < words.length; i += 2) {
            args.put(words[i].substring(2), words[i + 1]);
        }
        Topology topology = args.get("job").equals("pass") ? pass(args) : fraud(args);
        KafkaStreams streams = new KafkaStreams(topology, properties(args));
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            ended.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        ended.await();
        streams.close(Duration.ofSeconds(5));
        System.exit(1);
    }

    private static Properties properties(Map<String, String> args) {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, args.get("app"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args.get("brokers"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, Integer.parseInt(args.get("commit-ms")));
        p.put(StreamsConfig.STATE_DIR_CONFIG, args.get("state"));
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        p.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        // Back at once after a kill: without it, the dead member's session of 45 s has to end first.
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG), "0");
        return p;
    }

    /** Bytes in, bytes out: what the framework itself costs. */
    private static Topology pass(Map<String, String> args) {
        Topology topology = new Topology();
        topology.addSource("in", args.get("in"));
        topology.addSink("out", args.get("out"), "in");
        return topology;
    }

    private static Topology fraud(Map<String, String> args) throws Exception {
        boolean rocksdb = args.get("store").equals("rocksdb");
        Map<String, Double> merchants = Merchants.read(args.get("merchants"));
        Model model = new Model(args.get("model"));
        ProcessorSupplier<byte[], byte[], byte[], byte[]> features = () -> new FraudProcessor(merchants, model);
        Topology topology = new Topology();
        topology.addSource("in", args.get("in"));
        topology.addProcessor("fraud", features, "in");
        topology.addStateStore(Cards.rows(rocksdb), "fraud");
        topology.addStateStore(Cards.last(rocksdb), "fraud");
        topology.addSink("out", args.get("out"), "fraud");
        return topology;
    }

    private Main() {}
}
