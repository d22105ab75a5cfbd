//! Markup and scripts that a page would show to another user's browser.

use super::signature::Signature;
use crate::guard::detection::category::Category::Xss;
use crate::guard::detection::confirm::{breaks_out, breaks_out_of_script, is_no_mention, runs_in_markup};
use crate::guard::detection::markup::is_handler_with_means;
use crate::guard::detection::places::is_link;
use crate::guard::detection::speech::Talk;

const fn xss(name: &'static str, literals: &'static [&'static str], pattern: &'static str) -> Signature {
    Signature::new(Xss, name, literals, pattern)
}

pub(super) const TABLE: &[Signature] = &[
    xss("xss_script_element", &["script"], r"<\s*/?\s*(?:\w+:)?script(?:[\s/>:\x0b]|$)").with(&["<"]).confirmed(is_no_mention),
    xss(
        "xss_event_handler",
        &["^on"],
        r#"<[a-z!/?%:\x0b][^>]*[\s/"'`\x0b]on(?:abort|activate|after|animation|auxclick|before|begin|blur|bounce|cancel|canplay|change|click|close|contextmenu|copy|cuechange|cut|dblclick|deactivate|drag|drop|durationchange|emptied|end|error|filter|finish|focus|formdata|fullscreen|gesture|gotpointer|hashchange|help|input|invalid|key|layout|load|lostpointer|message|mouse|moz|offline|online|orientation|page|paste|pause|play|pointer|popstate|progress|property|ratechange|readystate|repeat|reset|resize|row|scroll|search|seek|select|show|stalled|start|storage|stop|submit|suspend|timeupdate|toggle|touch|transition|unhandled|unload|volumechange|waiting|webkit|wheel)[a-z]*\s*=\s*(?:["'`]\s*[^\s."'`]|[^\s{.>"'`])"#,
    ).with(&["<"])
    .confirmed(is_handler_with_means),
    xss(
        "xss_attribute_break_out",
        &["^on"],
        r#"["'`>](?:[\s/]*[a-z-]+(?:=[^\s]*)?){0,3}[\s/]*\bon(?:abort|animation|auxclick|before|begin|blur|canplay|change|click|close|contextmenu|copy|cut|dblclick|drag|drop|end|error|finish|focus|hashchange|input|invalid|key|load|message|mouse|online|offline|page|paste|play|pointer|popstate|progress|readystate|resize|scroll|search|select|show|start|submit|toggle|touch|transition|unload|volumechange|wheel)[a-z]*\s*=\s*["'`]?\s*[a-z_$(\[!+\-\\&{]"#,
    ).with(&["'", "\"", "`", ">"])
    .confirmed(breaks_out).excused(Talk::Around),
    xss(
        "xss_attribute_alone",
        &["^on"],
        r#"^[\w.-]*[\s/]*on(?:error|load|click|focus|blur|mouse\w+|key\w+|toggle|pointer\w+|animation\w+|submit|input|change)\s*=\s*["'`]?\s*(?:alert|confirm|prompt|eval|print|fetch|location|document|window|javascript|top|self|import|function)\b"#,
    ),
    xss(
        "xss_script_address",
        &["pt:", "pt\t:", "pt :", "script"],
        r#"(?:j\s*a\s*v\s*a|v\s*b|l\s*i\s*v\s*e)\s*s\s*c\s*r\s*i\s*p\s*t\s*:(?:\s*[\w$.\[\]'"+]+[(`\[=]|[('"!+\-\[{~/`%]|\s*//|\s*(?:throw|var|let|new|with|import|confirm|alert)\b\s*[^\s.,])"#,
    ).with(&[":"])
    .confirmed(is_link),
    xss("xss_data_page", &["data:"], r"data:\s*(?:text/html|application/xhtml\+xml|text/javascript|application/javascript|application/x-javascript)\s*[;,]"),
    xss(
        "xss_frame",
        &["frame"],
        r#"<\s*i?frame\b[^>]*(?:srcdoc\s*=|src\s*=\s*["'`]?\s*(?:javascript|vbscript|data\s*:|//|http:|\\)|src\s*=\s*["']?\s*$)|<\s*frameset\b[^>]*>|<\s*(?:\w+:)?vmlframe\b"#,
    ),
    xss(
        "xss_active_element",
        &["<object", "<embed", "<applet", "<base", "<meta", "<isindex", "<link", "<portal", "<xss", "<bgsound", "<layer", "<ilayer", "<form", "<button", "<input"],
        r#"<(?:object\b[^>]*\b(?:data\s*=\s*["'`]?\s*(?:\w+:|//|\\|[^\s"'>]*\.swf)|type\s*=\s*["'`]?text|classid\s*=|codebase\s*=)|embed\b[^>]*\b(?:src\s*=\s*["'`]?\s*(?:\w+:|//|\\|[^\s"'>]*\.swf)|code\s*=|type\s*=\s*["'`]?text)|applet\b|base\b[^>]*\bhref\s*=|meta\b[^>]*(?:http-equiv\s*=\s*["'`]?\s*(?:refresh|set-cookie|link|content-security)|charset\s*=\s*["'`]?\s*utf-7)|isindex\b|link\b[^>]*(?:href\s*=\s*["'`]?\s*(?:javascript|data:|//)|rel\s*=\s*["'`]?\s*import)|portal\b[^>]*src|xss\b|bgsound\b|i?layer\b[^>]*src|form\b[^>]*action\s*=\s*["'`]?\s*(?:javascript|data:|//|http:)|(?:button|input)\b[^>]*formaction\s*=)"#,
    ),
    xss(
        "xss_svg_script",
        &["<animate", "<set", "<use", "<image", "<foreignobject", "<math", "xlink:href", "<handler", "<feimage", "<listener"],
        r#"<(?:animate\w*|set)\b[^>]*(?:attributename\s*=\s*["']?\s*(?:xlink:)?(?:href|on\w+)|(?:values|to|from)\s*=\s*["']?[^>]*(?:javascript|data):)|<use\b[^>]*href\s*=\s*["']?\s*(?:data:|//|http)|<(?:feimage|image)\b[^>]*href\s*=\s*["']?\s*(?:javascript|data:\s*(?:text|image/svg))|<foreignobject\b[^>]*>\s*<|<math\b[^>]*(?:href|actiontype)|xlink:href\s*=\s*["']?\s*(?:javascript|data:text)|<handler\b[^>]*>|<listener\b[^>]*handler"#,
    ),
    xss(
        "xss_style_script",
        &["expression", "behavior", "-moz-binding", "@import", "<style"],
        r#"style\s*=\s*["'`]?[^>]*(?:expression\s*\(|behavior\s*:|-moz-binding|url\s*\(\s*["']?\s*(?:javascript|data:text))|<style\b[^>]*>[^<]*(?:@import|expression\s*\(|javascript:|behavior\s*:|-moz-binding|\}\s*\*?\{)|:\s*expression\s*\("#,
    ),
    xss(
        "xss_string_break_out",
        &["'", "\"", "`", "${"],
        r#"(?:["'][\s)}\]]*[;,)\-+*|&?:/^%<>=\\~]*|`[\s)}\]]*[;,)}\]\-+*|&?:/^%<>=\\~]+)[\s(]*(?:alert|confirm|prompt|eval|print|fetch|import|settimeout|setinterval|function|document\.\w+|window\.\w+|top\[|self\[|this\[|location\s*=|new\s+function)\s*(?:\(|`|\[|=|\.\s*(?:call|apply|bind|constructor|cookie|source|then|domain|href|write\w*)\b|\.\w+\s*[(=`\[])"#,
    ).with(&["alert", "confirm", "prompt", "eval", "print", "fetch", "import", "settimeout", "setinterval", "function", "document", "window", "top[", "self[", "this[", "location"])
    .confirmed(breaks_out_of_script).excused(Talk::Around),
    xss(
        "xss_dialog",
        &["alert", "confirm", "prompt", "print"],
        r"\b(?:alert|confirm|prompt)\s*(?:\(|`|\?\.\()\s*(?:document|window|location|origin|self|this|top|parent|string|/|`|'?xss|navigator|1\s*[)`]|'?\d*['`]?\s*[)`]|\))",
    )
    .worth(50).excused(Talk::Around),
    xss("xss_cookie_access", &["document.", "document[", "localstorage", "sessionstorage"], r#"\bdocument\s*(?:\.\s*|\[\s*["'`])(?:cookie|domain|write(?:ln)?|location|body\.innerhtml|url)\b|\b(?:local|session)storage\.(?:getitem|\w+)"#)
        .worth(50).excused(Talk::Around),
    xss(
        "xss_dialog_page",
        &["alert", "confirm", "prompt", "document.cookie"],
        r#"^[\s;,)}\]*/+-]*(?:top|window|self|parent|frames|this)?\s*(?:\.|\[\s*["'`/]?)?\s*(?:alert|confirm|prompt)["'`/]?\]?\s*(?:\(|`).{0,80}(?:\)|`)\s*(?:[;/]*\s*|//.*)$|\$\{\s*(?:alert|confirm|prompt)\s*[(`]|\b(?:alert|confirm|prompt)\s*[(`]\s*(?:document\.(?:cookie|domain|location)|['"`]?xss|string\.fromcharcode|window\.origin)|(?:location(?:\.href|\.assign|\.replace)?|\.src|window\.open|fetch|sendbeacon|xmlhttprequest)\s*[=(][^;\n]{0,200}document\.cookie"#,
    ).excused(Talk::Around),
    xss(
        "xss_hidden_call",
        &["fromcharcode", "atob", "constructor", "eval", "[]", "][", "function("],
        r#"\beval\s*(?:\(|`)\s*(?:atob|string\.fromcharcode|unescape|location|name\b|document|window\.name|decodeuri|/|['"`]al)|\(!\[\][\s+]+\[\]\)|\[\]\s*\[\s*["'`(\[]|\bconstructor\s*\.\s*constructor\s*\(|\bfunction\s*\(\s*["'`](?:ale|eval|return|doc)|\bset(?:timeout|interval)\s*\(\s*["'`](?:ale|eval|doc|loc)|\batob\s*(?:\(|`)\s*["'`][\w+/=]{4,}["'`]\s*\)\s*\)"#,
    ).excused(Talk::Around),
    xss(
        "xss_computed_member",
        &["[\"", "['", "[`", "[/", "[ \"", "[ '", "[ /"],
        r#"\b(?:top|window|self|parent|this|frames|document|globalthis)\s*\[\s*(?:["'`/][\w\\]*["'`/](?:\.source)?\s*(?:\+\s*["'`/][\w\\]*["'`/](?:\.source)?\s*)+|["'`](?:alert|confirm|prompt|eval|cookie|location|domain|write)["'`]|8680439)"#,
    ).excused(Talk::Around),
    xss("xss_error_handler", &["onerror"], r"\bonerror\s*=\s*(?:alert|eval|confirm|prompt)\b|\bthrow\s*(?:onerror|/\w)").excused(Talk::Around),
    xss("xss_utf7", &["+adw-", "+ad4-", " adw-"], r"[+ ]adw-\s*/?(?:script|img|svg|iframe|body)").and_raw(),
    xss("xss_markup_oddity", &["<!--", "<![", "<?", "<%", "<x", "<a", "<svg", "<img", "<image", "<math", "<video", "<body", "ng-", "data-bind"], r#"<svg[^>]*>\s*<(?:script|animate|set|a\s|style[^>]*>[^<]*<(?:[^/]|/[^s]))|<(?:img|image|body|input|table|td)\b[^>]*\b(?:src|background|dynsrc|lowsrc|href)\s*=\s*["'`]?\s*(?:javascript|vbscript|data:text|\\)|<a\b[^>]*href\s*=\s*["'`]?\s*(?:\x01|data:text|vbscript:)|<!--\[if[^>]*>\s*<script|<x\s+on|<math>\s*<(?:mtext|mi|mo|mn|ms)[^>]*>\s*<(?:table|mglyph|style|img|svg|script|malignmark)|<math[^>]*>\s*<(?:mglyph|annotation-xml)|<img\b[^>]*\bsrc\s*=\s*["'][^"'>]*[?&=]$|<noscript>\s*<p\s+title|<[^>]*\s(?:ng-\w+|data-bind)\s*=\s*["']?[^"'>]*(?:alert|constructor|\$event|eval)\b"#),
    xss("xss_script_loader", &["getscript", "createelement", "import(", "appendchild", "innerhtml"], r#"\$\.getscript\s*\(|createelement\s*\(\s*["'`]script|\bimport\s*\(\s*["'`](?:https?:)?//|\.innerhtml\s*=\s*["'`]?\s*<(?:img|svg|script|iframe)"#).confirmed(runs_in_markup).excused(Talk::Around),
];
