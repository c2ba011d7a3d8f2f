package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.io.SerializedString;
import com.fasterxml.jackson.core.util.ByteArrayBuilder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;

/** JSON to features to score to JSON. The benchmark's events are all good; a bad one would stop the job. */
final class FraudProcessor implements Processor<byte[], byte[], byte[], byte[]> {
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER)
            .enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER)
            .build();
    /** In the order of the model's inputs. */
    private static final String[] FEATURES = {
        "amount", "count_5m", "sum_5m", "avg_1h", "std_1h", "max_1h", "amount_ratio", "secs_since_prev",
        "merchant_risk", "hour_of_day"
    };
    private static final SerializableString[] NAMES = new SerializableString[FEATURES.length];
    private static final SerializableString TRANSACTION = new SerializedString("transaction_id");
    private static final SerializableString CARD = new SerializedString("card_id");
    private static final SerializableString TIME = new SerializedString("event_time");
    private static final SerializableString SCORE = new SerializedString("score");

    static {
        for (int i = 0; i < FEATURES.length; i++) {
            NAMES[i] = new SerializedString(FEATURES[i]);
        }
    }

    private final Map<String, Double> merchants;
    private final Model model;
    private final double[] features = new double[FEATURES.length];
    private final ByteArrayBuilder out = new ByteArrayBuilder(512);
    private ProcessorContext<byte[], byte[]> context;
    private Cards cards;

    private String transaction;
    private String card;
    private String merchant;
    private double amount;
    private long time;

    FraudProcessor(Map<String, Double> merchants, Model model) {
        this.merchants = merchants;
        this.model = model;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> context) {
        this.context = context;
        cards = new Cards(context);
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        try {
            read(record.value());
            cards.add(card, record.key(), transaction, time, amount, features);
            Double risk = merchants.get(merchant);
            features[8] = risk == null ? Double.NaN : risk;
            features[9] = Math.floorMod(Math.floorDiv(time, 3_600_000L), 24L);
            context.forward(record.withValue(write(model.score(features))));
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    private void read(byte[] json) throws IOException {
        try (JsonParser parser = JSON.createParser(json)) {
            parser.nextToken();
            for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
                JsonToken token = parser.nextToken();
                switch (name) {
                    case "transaction_id" -> transaction = parser.getText();
                    case "card_id" -> card = parser.getText();
                    case "merchant_id" -> merchant = token == JsonToken.VALUE_NULL ? null : parser.getText();
                    case "amount" -> amount = parser.getDoubleValue();
                    case "event_time" -> time = parser.getLongValue();
                    default -> parser.skipChildren();
                }
            }
        }
    }

    private byte[] write(float score) throws IOException {
        out.reset();
        try (JsonGenerator json = JSON.createGenerator(out)) {
            json.writeStartObject();
            json.writeFieldName(TRANSACTION);
            json.writeString(transaction);
            json.writeFieldName(CARD);
            json.writeString(card);
            json.writeFieldName(TIME);
            json.writeNumber(time);
            for (int i = 0; i < features.length; i++) {
                json.writeFieldName(NAMES[i]);
                if (i == 1 || i == 9) {
                    json.writeNumber((long) features[i]);
                } else if (Double.isNaN(features[i])) {
                    json.writeNull();
                } else {
                    json.writeNumber(features[i]);
                }
            }
            json.writeFieldName(SCORE);
            json.writeNumber((double) score);
            json.writeEndObject();
        }
        return out.toByteArray();
    }
}
