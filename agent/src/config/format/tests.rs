use super::*;

fn parse(yaml: &str) -> Result<Format, String> {
    let format: Format = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    format.validate().map(|()| format)
}

#[test]
fn formats_are_a_word_or_have_settings() {
    assert_eq!(parse("plain"), Ok(Format::Plain));
    assert_eq!(parse("suricata-iprep"), Ok(Format::SuricataIprep));
    let Ok(Format::Csv(csv)) = parse("csv: {address: dst_ip, end: 3, delimiter: tab}") else { panic!() };
    assert_eq!(csv.address, Some(Column::Name("dst_ip".to_owned())));
    assert_eq!(csv.end, Some(Column::Number(3)));
    assert_eq!(csv.separator, Some(Separator::Tab));
    let Ok(Format::Json(json)) = parse("json: {items: [/a/*, /b/*], address: ip}") else { panic!() };
    assert_eq!((json.items.0.len(), json.address.0.len()), (2, 1));
}

#[test]
fn mistakes_are_told_with_their_mend() {
    for (yaml, want) in [
        ("colour", "colour"),
        ("columns: {address: 1, colour: 2}", "colour"),
        ("columns: {score: 2}", "no address, asn or country"),
        ("columns: {address: 0}", "columns are numbered from 1"),
        ("columns: {address: 1001}", "beyond 1000"),
        ("columns: {address: 1, asn: 2}", "keep one of them"),
        ("columns: {asn: 1, end: 2}", "set address too"),
        ("csv: {address: ''}", "has no name"),
        ("csv: {address: 1, comment: rem}", "punctuation"),
        ("csv: {address: 1, skip: 99999}", "more than 10000"),
        ("csv: {address: 1, only: {column: 2, values: []}}", "values"),
        ("json: {address: ip}", "has no items"),
        ("json: {items: prefixes}", "does not start with /"),
        ("json-lines: {address: ip, items: /x}", "leave it out"),
        ("json-lines: {score: x}", "no address, asn or country"),
        ("json: {items: /x, address: a, only: {key: 1, values: x}}", "write the key"),
    ] {
        let error = parse(yaml).expect_err(yaml);
        assert!(error.contains(want), "{yaml}: {error}");
    }
}

#[test]
fn selections_that_cannot_work_are_told() {
    let score = Select { min_score: Some(3), ..Select::default() };
    let category = Select { categories: vec!["scan".to_owned()], ..Select::default() };
    let tables = Select { tables: vec!["asn.csv".into()], ..Select::default() };
    let field =
        |format: Format, select: &Select| format.validate_select(select).err().map(|(field, _)| field);
    assert_eq!(field(Format::Plain, &score), Some("min_score"));
    assert_eq!(field(Format::Score, &score), None);
    assert_eq!(field(Format::Score, &category), Some("categories"));
    assert_eq!(field(Format::SuricataIprep, &category), None);
    assert_eq!(field(Format::Plain, &tables), Some("tables"));
    assert_eq!(field(Format::SpamhausAsndrop, &Select::default()), Some("tables"));
    assert_eq!(field(Format::SpamhausAsndrop, &tables), None);
}

#[test]
fn named_formats_are_sound_settings() {
    for yaml in ["score", "dshield", "dataplane", "threatfox", "zeek-intel", "aws", "github", "asn-list"] {
        let format = parse(yaml).unwrap();
        let (Grammar::Columns(_) | Grammar::Csv(_) | Grammar::Json(_)) = format.grammar() else {
            panic!("{yaml} is no settings");
        };
        let text = serde_json::to_string(&format).unwrap();
        assert_eq!(serde_json::from_str::<Format>(&text).unwrap(), format);
    }
    let long = parse("csv: {address: ip, only: {column: 2, values: [a]}, score: -1}").unwrap();
    let text = serde_json::to_string(&long).unwrap();
    assert_eq!(text, r#"{"csv":{"address":"ip","score":-1,"only":{"column":2,"values":["a"]}}}"#);
    assert_eq!(serde_json::from_str::<Format>(&text).unwrap(), long);
}
