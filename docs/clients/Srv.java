import java.io.IOException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Hashtable;
import java.util.List;
import javax.naming.NameNotFoundException;
import javax.naming.directory.Attribute;
import javax.naming.directory.DirContext;
import javax.naming.directory.InitialDirContext;

/** Prints the page of each instance, found by SRV records, every half second: java Srv.java web.minidisc */
public class Srv {
    public static void main(String[] arguments) throws Exception {
        var settings = new Hashtable<String, String>();
        settings.put("java.naming.factory.initial", "com.sun.jndi.dns.DnsContextFactory");
        settings.put("java.naming.provider.url", "dns://127.0.0.1:53"); // "dns:" uses /etc/resolv.conf
        var dns = new InitialDirContext(settings);
        while (true) {
            System.out.println(String.join(" ", pages(dns, arguments[0])));
            Thread.sleep(500);
        }
    }

    static List<String> pages(DirContext dns, String service) throws Exception {
        var pages = new ArrayList<String>();
        for (Object record : records(dns, service)) {
            String[] fields = record.toString().split(" "); // priority, weight, port, target
            try (var page = new URL("http://" + fields[3] + ":" + fields[2] + "/").openStream()) {
                pages.add(new String(page.readAllBytes(), StandardCharsets.UTF_8).strip());
            } catch (IOException ended) {
                // The instance has just ended.
            }
        }
        return pages;
    }

    static List<?> records(DirContext dns, String service) throws Exception {
        try {
            Attribute found = dns.getAttributes(service, new String[] {"SRV"}).get("SRV");
            return found == null ? List.of() : Collections.list(found.getAll());
        } catch (NameNotFoundException none) {
            return List.of();
        }
    }
}
