use super::{Column, Columns, Format, Grammar, Json, Only, Separator};

/// Returns the grammar of a format.
pub(super) fn grammar(format: &Format) -> Grammar {
    use Separator::{Any, Blank, Comma, Pipe, Tab};

    let number = |number: i16| Some(Column::Number(number));
    let name = |name: &str| Some(Column::Name(name.to_owned()));
    let columns = |separator, address| Columns { separator: Some(separator), address, ..Columns::default() };
    let only = |column, values: &[&str]| Some(Only { column, values: values.into() });
    let key = |key: &str| Some(key.to_owned());
    let json = |items: &[&str], address: &[&str]| Json {
        items: items.into(),
        address: address.into(),
        ..Json::default()
    };
    match format {
        Format::Score => Grammar::Columns(Columns { score: number(2), ..columns(Any, number(1)) }),
        Format::IpPort => Grammar::Csv(columns(Any, number(1))),
        Format::SuricataIprep => {
            Grammar::Columns(Columns { category: number(2), score: number(3), ..columns(Comma, number(1)) })
        }
        Format::Dshield => {
            Grammar::Columns(Columns { end: number(2), score: number(4), ..columns(Tab, number(1)) })
        }
        // Counted from the end: names of autonomous systems have pipes in them.
        Format::Dataplane => Grammar::Columns(Columns { category: number(-1), ..columns(Pipe, number(-3)) }),
        Format::Turris => Grammar::Csv(Columns { category: number(2), ..columns(Comma, number(1)) }),
        Format::FeodoCsv => {
            Grammar::Csv(Columns { category: name("malware"), ..columns(Comma, name("dst_ip")) })
        }
        Format::FeodoJson => {
            Grammar::Json(Json { category: key("malware"), ..json(&["/*"], &["ip_address"]) })
        }
        Format::Threatfox => Grammar::Csv(Columns {
            score: name("confidence_level"),
            category: name("malware_printable"),
            only: only(Column::Name("ioc_type".to_owned()), &["ip:port"]),
            ..columns(Comma, name("ioc_value"))
        }),
        Format::ZeekIntel => Grammar::Columns(Columns {
            only: only(Column::Name("indicator_type".to_owned()), &["Intel::ADDR", "Intel::SUBNET"]),
            ..columns(Tab, name("indicator"))
        }),
        Format::TorExitAddresses => Grammar::Columns(Columns {
            only: only(Column::Number(1), &["ExitAddress"]),
            ..columns(Blank, number(2))
        }),
        Format::SpamhausDrop => Grammar::JsonLines(json(&[], &["cidr"])),
        Format::SpamhausAsndrop => {
            Grammar::JsonLines(Json { asn: key("asn"), category: key("cc"), ..Json::default() })
        }
        Format::Abuseipdb => Grammar::Json(Json {
            score: key("abuseConfidenceScore"),
            category: key("countryCode"),
            ..json(&["/data/*"], &["ipAddress"])
        }),
        Format::MispWarninglist => Grammar::Json(json(&["/list/*"], &[])),
        Format::Aws => Grammar::Json(Json {
            category: key("service"),
            ..json(&["/prefixes/*", "/ipv6_prefixes/*"], &["ip_prefix", "ipv6_prefix"])
        }),
        Format::Google => Grammar::Json(Json {
            category: key("scope"),
            ..json(&["/prefixes/*"], &["ipv4Prefix", "ipv6Prefix"])
        }),
        Format::Github => Grammar::Json(json(GITHUB, &[])),
        Format::Fastly => Grammar::Json(json(&["/addresses/*", "/ipv6_addresses/*"], &[])),
        Format::AsnList => Grammar::Columns(Columns { asn: number(1), ..columns(Any, None) }),
        Format::CountryList => Grammar::Columns(Columns { country: number(1), ..columns(Any, None) }),
        Format::Plain => Grammar::Plain,
        Format::Words => Grammar::Words,
        Format::Range => Grammar::Range,
        Format::SnortRules => Grammar::Rules,
        Format::Rbldnsd => Grammar::Rbldnsd,
        Format::Rpz => Grammar::Rpz,
        Format::Columns(columns) => Grammar::Columns(columns.clone()),
        Format::Csv(columns) => Grammar::Csv(columns.clone()),
        Format::JsonLines(json) => Grammar::JsonLines(json.clone()),
        Format::Json(json) => Grammar::Json(json.clone()),
    }
}

/// Where `api.github.com/meta` has prefixes; its other arrays are keys and names.
const GITHUB: &[&str] = &[
    "/hooks/*",
    "/web/*",
    "/api/*",
    "/git/*",
    "/github_enterprise_importer/*",
    "/packages/*",
    "/pages/*",
    "/importer/*",
    "/actions/*",
    "/actions_macos/*",
    "/codespaces/*",
    "/dependabot/*",
    "/copilot/*",
];
