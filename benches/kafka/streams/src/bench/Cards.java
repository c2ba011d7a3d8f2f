package bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The state of one task. The truth is in two stores: every row for as long as a window reaches it, and for every card the
 * time of its last row. What was read from them once is kept on the heap, so that an event costs two writes and no read:
 * with a card's rows in one value, or read again for each event, the hottest card would cost 9,000 rows an event.
 *
 * <p>A task that starts again makes a new one of these: nothing of an aborted transaction survives on the heap.
 */
final class Cards {
    /** Rows on the heap, which take some 100 bytes each; beyond, all are forgotten and read again. */
    private static final long MOST = Runtime.getRuntime().maxMemory() / 160;
    private static final Duration RETENTION = Duration.ofMillis(Card.HOUR + Card.LATENESS);

    private final WindowStore<byte[], byte[]> rows;
    private final KeyValueStore<byte[], byte[]> last;
    private final Map<String, Card> known = new HashMap<>();
    private long knownRows;
    private final double[] ignored = new double[10];

    Cards(ProcessorContext<byte[], byte[]> context) {
        rows = context.getStateStore("rows");
        last = context.getStateStore("last");
    }

    /** Card, zero byte, transaction id; in the window that starts with the event: the amount. */
    static StoreBuilder<WindowStore<byte[], byte[]>> rows(boolean rocksdb) {
        Serde<byte[]> bytes = Serdes.ByteArray();
        Duration window = Duration.ofMillis(1);
        return Stores.windowStoreBuilder(
                rocksdb
                        ? Stores.persistentWindowStore("rows", RETENTION, window, false)
                        : Stores.inMemoryWindowStore("rows", RETENTION, window, false),
                bytes, bytes);
    }

    /** Card: the time of the newest row that left the other store, and that of the newest of all. */
    static StoreBuilder<KeyValueStore<byte[], byte[]>> last(boolean rocksdb) {
        Serde<byte[]> bytes = Serdes.ByteArray();
        return Stores.keyValueStoreBuilder(
                rocksdb ? Stores.persistentKeyValueStore("last") : Stores.inMemoryKeyValueStore("last"), bytes, bytes);
    }

    void add(String id, byte[] key, String transaction, long time, double amount, double[] features) {
        Card card = known.get(id);
        if (card == null) {
            if (knownRows > MOST) {
                known.clear();
                knownRows = 0;
            }
            card = load(key);
            known.put(id, card);
            knownRows += card.size();
        }
        knownRows -= card.size();
        card.add(time, amount, transaction, features);
        knownRows += card.size();
        byte[] suffix = transaction.getBytes(StandardCharsets.UTF_8);
        byte[] row = Arrays.copyOf(key, key.length + 1 + suffix.length);
        System.arraycopy(suffix, 0, row, key.length + 1, suffix.length);
        rows.put(row, ByteBuffer.allocate(8).putDouble(amount).array(), time);
        last.put(key, ByteBuffer.allocate(16).putLong(card.before).putLong(card.newest()).array());
    }

    private Card load(byte[] key) {
        Card card = new Card();
        byte[] stored = last.get(key);
        if (stored == null) {
            return card;
        }
        long before = ByteBuffer.wrap(stored).getLong(0);
        long newest = ByteBuffer.wrap(stored).getLong(8);
        byte[] from = Arrays.copyOf(key, key.length + 1);
        byte[] to = from.clone();
        to[key.length] = 1;
        long reach = Math.max(0, newest - Card.HOUR - Card.LATENESS);
        try (KeyValueIterator<Windowed<byte[]>, byte[]> found = rows.fetch(from, to, reach, newest)) {
            while (found.hasNext()) {
                KeyValue<Windowed<byte[]>, byte[]> row = found.next();
                byte[] name = row.key.key();
                String transaction =
                        new String(name, key.length + 1, name.length - key.length - 1, StandardCharsets.UTF_8);
                card.add(row.key.window().start(), ByteBuffer.wrap(row.value).getDouble(), transaction, ignored);
            }
        }
        card.before = card.isEmpty() ? newest : Math.max(card.before, before);
        return card;
    }
}
