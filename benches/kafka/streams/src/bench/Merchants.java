package bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The merchants' risks, in memory. */
final class Merchants {
    static Map<String, Double> read(String path) throws Exception {
        Map<String, Double> risks = new HashMap<>();
        List<String> lines = Files.readAllLines(Path.of(path));
        for (String line : lines.subList(1, lines.size())) {
            String[] cells = line.split(",");
            risks.put(cells[0], Double.parseDouble(cells[2]));
        }
        return risks;
    }

    private Merchants() {}
}
