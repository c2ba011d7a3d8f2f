package bench;

/**
 * The rows of one card that windows can still reach, in order of (time, id), and the two frames that end at the newest.
 *
 * <p>A row in order moves the frames: O(1) on average. A row that comes out of order is computed as of its own time from
 * the rows themselves. Times are ms.
 */
final class Card {
    static final long FIVE_MINUTES = 5 * 60_000;
    static final long HOUR = 60 * 60_000;
    /** How far out of order events may come. */
    static final long LATENESS = 3_000;
    static final long NEVER = Long.MIN_VALUE;

    /** The time of the newest row that is not kept any more. */
    long before = NEVER;

    private long[] times = new long[4];
    private double[] amounts = new double[4];
    private String[] ids = new String[4];
    private int head;
    private int tail;
    private int fromFive;
    private int fromHour;
    private final Exact sumFive = new Exact();
    private final Exact sumHour = new Exact();
    private final Exact squareHour = new Exact();
    private double maxHour = Double.NEGATIVE_INFINITY;

    boolean isEmpty() {
        return head == tail;
    }

    int size() {
        return tail - head;
    }

    long newest() {
        return times[tail - 1];
    }

    /** Adds a row and fills the first eight features. */
    void add(long time, double amount, String id, double[] features) {
        reserve();
        if (isEmpty() || time > newest() || (time == newest() && id.compareTo(ids[tail - 1]) > 0)) {
            append(time, amount, id, features);
        } else {
            insert(time, amount, id, features);
        }
    }

    private void append(long time, double amount, String id, double[] features) {
        long previous = isEmpty() ? before : newest();
        times[tail] = time;
        amounts[tail] = amount;
        ids[tail] = id;
        tail++;
        sumFive.add(amount);
        sumHour.add(amount);
        squareHour.addSquare(amount, 1);
        for (; times[fromFive] < time - FIVE_MINUTES; fromFive++) {
            sumFive.add(-amounts[fromFive]);
        }
        boolean lost = false;
        for (; times[fromHour] < time - HOUR; fromHour++) {
            double gone = amounts[fromHour];
            sumHour.add(-gone);
            squareHour.addSquare(gone, -1);
            lost |= gone >= maxHour;
        }
        maxHour = lost ? greatest(fromHour, tail) : Math.max(maxHour, amount);
        int n = tail - fromHour;
        fill(features, amount, tail - fromFive, sumFive.value(), n, sumHour, squareHour, maxHour, time, previous);
        for (; times[head] < time - HOUR - LATENESS; head++) {
            before = times[head];
            ids[head] = null;
        }
    }

    private void insert(long time, double amount, String id, double[] features) {
        int at = tail;
        while (at > head && (times[at - 1] > time || (times[at - 1] == time && ids[at - 1].compareTo(id) > 0))) {
            at--;
        }
        long newest = newest();
        System.arraycopy(times, at, times, at + 1, tail - at);
        System.arraycopy(amounts, at, amounts, at + 1, tail - at);
        System.arraycopy(ids, at, ids, at + 1, tail - at);
        times[at] = time;
        amounts[at] = amount;
        ids[at] = id;
        tail++;
        if (time >= newest - FIVE_MINUTES) {
            sumFive.add(amount);
        } else {
            fromFive++;
        }
        if (time >= newest - HOUR) {
            sumHour.add(amount);
            squareHour.addSquare(amount, 1);
            maxHour = Math.max(maxHour, amount);
        } else {
            fromHour++;
        }
        asOf(at, features);
    }

    /** The features of a row that is not the newest. */
    private void asOf(int at, double[] features) {
        long time = times[at];
        int end = at + 1;
        while (end < tail && times[end] == time) {
            end++;
        }
        Exact five = new Exact();
        Exact hour = new Exact();
        Exact square = new Exact();
        int count = 0;
        int start = end;
        for (; start > head && times[start - 1] >= time - HOUR; start--) {
            double amount = amounts[start - 1];
            hour.add(amount);
            square.addSquare(amount, 1);
            if (times[start - 1] >= time - FIVE_MINUTES) {
                five.add(amount);
                count++;
            }
        }
        long previous = at > head ? times[at - 1] : before;
        double max = greatest(start, end);
        fill(features, amounts[at], count, five.value(), end - start, hour, square, max, time, previous);
    }

    private static void fill(
            double[] features, double amount, int count, double sum, int n, Exact hour, Exact square, double max,
            long time, long previous) {
        double average = hour.average(n);
        features[0] = amount;
        features[1] = count;
        features[2] = sum;
        features[3] = average;
        features[4] = Math.sqrt(square.variance(hour, n));
        features[5] = max;
        features[6] = average == 0 ? Double.NaN : amount / average;
        features[7] = previous == NEVER ? -1 : (time - previous) / 1000.0;
    }

    private double greatest(int from, int to) {
        double max = Double.NEGATIVE_INFINITY;
        for (int i = from; i < to; i++) {
            max = Math.max(max, amounts[i]);
        }
        return max;
    }

    /** Makes room for one more row: by moving to the front where that frees half, else by doubling. */
    private void reserve() {
        if (tail < times.length) {
            return;
        }
        int length = head >= times.length / 2 ? times.length : times.length * 2;
        times = moved(times, new long[length]);
        amounts = moved(amounts, new double[length]);
        ids = moved(ids, new String[length]);
        fromFive -= head;
        fromHour -= head;
        tail -= head;
        head = 0;
    }

    private <T> T moved(T from, T into) {
        System.arraycopy(from, head, into, 0, tail - head);
        return into;
    }
}
