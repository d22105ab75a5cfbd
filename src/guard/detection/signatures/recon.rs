//! Scanners, and the entrances that they try.

use super::signature::{Signature, in_contexts};
use crate::guard::detection::category::Category::{CmsProbing, Recon};
use crate::guard::detection::category::Context;

const HEADER: u8 = Context::Header.bit();
const PATH: u8 = Context::Path.bit();
const NAMES: u8 = in_contexts(&[Context::Query, Context::Body]);

pub(super) const TABLE: &[Signature] = &[
    Signature::new(
        Recon,
        "recon_scanner",
        &["sqlmap", "nikto", "nmap", "masscan", "zgrab", "acunetix", "nessus", "openvas", "wpscan", "dirbuster", "gobuster", "feroxbuster", "fuzz faster", "wfuzz", "hydra", "arachni", "w3af", "skipfish", "whatweb", "nuclei", "netsparker", "havij", "zmeu", "joomscan", "jorgee", "commix", "dirsearch", "xsser", "webinspect", "paros", "grendel", "n-stealth", "bsqlbf", "morfeus", "absinthe", "pangolin", "sqlninja", "vega/", "jaeles", "metis", "wapiti", "cgichk", "brutus", "whisker", "appscan", "detectify", "l9explore", "censysinspect", "ffuf"],
        r"^(?:[^?&=]*[\s;(+/])?(?:sqlmap|nikto|nmap|masscan|zgrab|acunetix|nessus|openvas|wpscan|dirbuster|gobuster|feroxbuster|fuzz faster|ffuf|wfuzz|hydra|arachni|w3af(?:\.\w+)?|skipfish|whatweb|nuclei|netsparker|havij|zmeu|joomscan|jorgee|commix|dirsearch|xsser|webinspect|paros|grendel-scan|n-stealth|bsqlbf|morfeus|absinthe|pangolin|sqlninja|vega|jaeles|metis|wapiti|cgichk|brutus|whisker|appscan|detectify|l9explore|censysinspect)(?:$|[/.:;,)_-]|\s*\(|\s+(?:v?\d|-|soap|scripting|scan|security|web|http|u fool|agent|bot|project))",
    )
    .only_in(HEADER),
    Signature::new(
        Recon,
        "recon_entrance",
        &["eval-stdin", "actuator/", "server-status", "server-info", "hnap1", "boaform", "phpunit", "manager/html", "_ignition", "jmx-console", "web-console", "solr/admin", "cgi-bin/", "etc/passwd", "telescope", "_profiler", "axis2", "wls-wsat", "druid/", "debug/pprof", "heapdump", "trace.axd", "elmah.axd", "invoker/", "phpmyadmin/", "adminer", "console/css", "_all_dbs", "jolokia", "setup.cgi", "geoserver", "goform", "struts", ".action"],
        r"/phpunit/[\w/.-]*eval-stdin\.php|/actuator/(?:env|heapdump|gateway|jolokia|trace|httptrace|mappings|configprops|threaddump|logfile|shutdown|beans|dump)|/server-(?:status|info)$|^/hnap1|/boaform/|/manager/(?:html|text|jmxproxy)|/_ignition/|/(?:jmx|web)-console|/invoker/\w+servlet|/solr/(?:admin|\w+/(?:dataimport|config|select))|/cgi-bin/(?:[\w./]*\.(?:sh|cgi|pl|exe)|php|test|status|bash|luci|\.)|/telescope/requests|/_profiler/|/axis2/|/wls-wsat/|/druid/(?:index|indexer|v2)|/debug/pprof|/heapdump$|/trace\.axd|/elmah\.axd|/(?:phpmyadmin|pma|myadmin|dbadmin|sqladmin|mysqladmin)/(?:index\.php|setup|scripts|$)|/adminer(?:-[\w.]+)?\.php|/console/(?:css|images)/|/_all_dbs$|/jolokia\b|/setup\.cgi|/goform/|/geoserver/(?:web|ows)",
    )
    .only_in(PATH),
    Signature::new(
        CmsProbing,
        "cms_file",
        &["wp-", "xmlrpc", "timthumb", "revslider", "sites/default", "administrator/", "components/com_", "magmi", "downloader/", "readme.html", "changelog.txt", "install.php", "license.txt", "typo3"],
        r"/wp-config[\w-]*\.|/wp-content/(?:debug\.log|uploads/[^\s]*\.(?:php\d?|phtml|sql|zip|bak)|plugins/[\w-]+/(?:readme\.txt|[\w/.-]*(?:upload|shell|timthumb|download|file)[\w.-]*\.php)|backup)|/wp-includes/(?:wlwmanifest\.xml|[\w/.-]+\.bak)|/timthumb\.php|revslider[\w/.-]*(?:show_image|update)|/sites/default/(?:settings|files/\.ht|services)|/administrator/(?:manifests|components/[\w/.-]+\.xml|backups)|/magmi/web|/(?:wp-)?admin/(?:install|setup-config)\.php|/wlwmanifest\.xml|/typo3conf/",
    )
    .only_in(PATH),
    Signature::new(CmsProbing, "cms_users", &["wp-json", "xmlrpc"], r"/wp-json/wp/v2/users|/xmlrpc\.php").only_in(PATH).worth(50),
    Signature::new(CmsProbing, "cms_render_array", &["#post_render", "#markup", "#lazy_builder", "element_parents", "#pre_render", "#access_callback"], r"\[?#(?:post_render|pre_render|lazy_builder|access_callback|markup)\]?|element_parents=?account").only_in(NAMES),
];
