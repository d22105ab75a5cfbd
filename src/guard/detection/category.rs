//! The categories of attacks, and the places of values in a request.

/// A kind of attack (guard semantics, section 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Category {
    /// SQL injection.
    Sqli,
    /// Scripts and markup for the browser of another user.
    Xss,
    /// Commands for a shell.
    CmdInjection,
    /// Ways out of a folder.
    DirTraversal,
    /// Spellings of a path that hide a way out.
    PathTraversal,
    /// A file or an address as the code of a page.
    FileInclusion,
    /// Files of the system or of a deployment.
    SensitiveFile,
    /// Expressions for a template engine.
    Template,
    /// Addresses that only a server reaches.
    Ssrf,
    /// Code in the language of the server: PHP, Node, Java, Python, Ruby.
    CodeInjection,
    /// Serialised objects that run code when they are deserialised.
    Deserialization,
    /// Line ends that begin a field or a response.
    HttpSplit,
    /// Filters of LDAP.
    Ldap,
    /// Operators of document databases.
    Nosql,
    /// Entities and inclusions of XML.
    Xml,
    /// The prototype of all objects.
    ProtoPollution,
    /// Scanners, and the files that they look for.
    Recon,
    /// Entrances of content management systems.
    CmsProbing,
    /// Files that a server would run.
    FileUpload,
    /// A pattern of the guard file.
    Custom,
}

impl Category {
    /// All categories.
    pub const ALL: [Category; 20] = [
        Category::Sqli,
        Category::Xss,
        Category::CmdInjection,
        Category::DirTraversal,
        Category::PathTraversal,
        Category::FileInclusion,
        Category::SensitiveFile,
        Category::Template,
        Category::Ssrf,
        Category::CodeInjection,
        Category::Deserialization,
        Category::HttpSplit,
        Category::Ldap,
        Category::Nosql,
        Category::Xml,
        Category::ProtoPollution,
        Category::Recon,
        Category::CmsProbing,
        Category::FileUpload,
        Category::Custom,
    ];

    /// The word for the guard file and for events.
    pub fn name(self) -> &'static str {
        match self {
            Category::Sqli => "sqli",
            Category::Xss => "xss",
            Category::CmdInjection => "cmd_injection",
            Category::DirTraversal => "dir_traversal",
            Category::PathTraversal => "path_traversal",
            Category::FileInclusion => "file_inclusion",
            Category::SensitiveFile => "sensitive_file",
            Category::Template => "template",
            Category::Ssrf => "ssrf",
            Category::CodeInjection => "code_injection",
            Category::Deserialization => "deserialization",
            Category::HttpSplit => "http_split",
            Category::Ldap => "ldap",
            Category::Nosql => "nosql",
            Category::Xml => "xml",
            Category::ProtoPollution => "proto_pollution",
            Category::Recon => "recon",
            Category::CmsProbing => "cms_probing",
            Category::FileUpload => "file_upload",
            Category::Custom => "custom",
        }
    }

    /// The category of that name.
    pub fn of_name(name: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name() == name)
    }
}

/// A set of categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

impl Categories {
    /// All categories.
    pub const ALL: Categories = Categories((1 << Category::ALL.len()) - 1);

    /// Only this category.
    pub const fn of(category: Category) -> Categories {
        Categories(1 << category as u32)
    }

    /// Whether the set contains the category.
    pub const fn contains(self, category: Category) -> bool {
        self.0 & (1 << category as u32) != 0
    }

    /// Whether all categories of `others` are in the set.
    pub const fn contains_all(self, others: Categories) -> bool {
        self.0 & others.0 == others.0
    }

    /// The set without the categories of the other one.
    #[must_use]
    pub const fn without(self, others: Categories) -> Categories {
        Categories(self.0 & !others.0)
    }

    /// The union of both sets.
    #[must_use]
    pub const fn with(self, others: Categories) -> Categories {
        Categories(self.0 | others.0)
    }
}

/// The place of a value in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// The query of the target.
    Query,
    /// The path of the target.
    Path,
    /// A field of the head, including cookies.
    Header,
    /// A field, a leaf or a piece of the body.
    Body,
}

impl Context {
    /// All contexts.
    pub const ALL: [Context; 4] = [Context::Query, Context::Path, Context::Header, Context::Body];

    /// The word for the command line and for events.
    pub fn name(self) -> &'static str {
        match self {
            Context::Query => "query",
            Context::Path => "path",
            Context::Header => "header",
            Context::Body => "body",
        }
    }

    /// The context of that name.
    pub fn of_name(name: &str) -> Option<Context> {
        Context::ALL.into_iter().find(|context| context.name() == name)
    }

    #[cfg(feature = "detection")]
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}
