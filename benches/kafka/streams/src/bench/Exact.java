package bench;

/**
 * A running sum in twice a double's precision, so that what is added and taken away again leaves no trace: a plain
 * double's residue would show in the standard deviation, and there in the score.
 */
final class Exact {
    private double high;
    private double low;

    void clear() {
        high = 0;
        low = 0;
    }

    void add(double value) {
        addPair(value, 0);
    }

    void addSquare(double value, double sign) {
        double square = value * value;
        addPair(sign * square, sign * Math.fma(value, value, -square));
    }

    private void addPair(double a, double b) {
        double sum = high + a;
        double part = sum - high;
        double error = (high - (sum - part)) + (a - part) + low + b;
        high = sum + error;
        low = error - (high - sum);
    }

    double value() {
        return high;
    }

    double average(long n) {
        return divide(high, low, n);
    }

    /** The population's variance of n values with this sum of squares: (n q - s²) / n². */
    double variance(Exact sum, long n) {
        double nq = n * high;
        double nqError = Math.fma(n, high, -nq) + n * low;
        double ss = sum.high * sum.high;
        double ssError = Math.fma(sum.high, sum.high, -ss) + 2 * sum.high * sum.low;
        double difference = nq - ss;
        double part = difference - nq;
        double error = (nq - (difference - part)) - (ss + part) + (nqError - ssError);
        return Math.max(0, divide(difference, error, (double) n * n));
    }

    private static double divide(double high, double low, double n) {
        double quotient = high / n;
        return quotient + (Math.fma(-quotient, n, high) + low) / n;
    }
}
