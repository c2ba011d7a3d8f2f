"""What every peer shares: the order of the model's features."""
FEATURES = ["amount", "count_5m", "sum_5m", "avg_1h", "std_1h", "max_1h",
            "amount_ratio", "secs_since_prev", "merchant_risk", "hour_of_day"]
