def write(results, no_write):
    import json
    print(json.dumps(results, indent=1))
