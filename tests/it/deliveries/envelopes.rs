//! What usage comes in: encodings, compression, what spreadsheets add; and what is no usage at all.

use std::io::Write as _;

use super::{HEADER, Line, assert_refused, assert_taken, file, import, may, row, sample};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

fn utf16(text: &str, mark: bool, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    mark.encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

fn usage() -> String {
    file(&[Line::new("\"Smith, J\u{fc}rgen \u{1f600}\"", "a", "1.50"), Line::new("B", "b", "2")])
}

/// All of them are the same two records.
#[tokio::test]
async fn what_can_be_recognised_is_taken() {
    let database = sample().await;
    assert_taken(&import(&database, usage(), &[]).await, 2);
    let plain = usage();
    let tabs = plain
        .replace("\"Smith, J\u{fc}rgen \u{1f600}\"", "\"Smith; J\u{fc}rgen \u{1f600}\"")
        .replace(',', "\t")
        .replace(';', ",");
    let trailing = plain.replace('\n', ",\n");
    let twice = format!("{plain}{HEADER}\n");
    let with_sep = format!("sep=,\r\n{}", plain.replace('\n', "\r\n"));
    let pieces =
        [file(&[Line::new("\"Smith, J\u{fc}rgen \u{1f600}\"", "a", "1.50")]), file(&[Line::new("B", "b", "2")])];
    let marked = pieces.clone().map(|piece| format!("\u{feff}{piece}"));
    let quoted = pieces.clone().map(|piece| {
        let (header, rows) = piece.split_once('\n').unwrap();
        format!("\u{feff}\"{}\"\n{rows}", header.replace(',', "\",\""))
    });
    for (what, bytes) in [
        ("a mark of UTF-8", format!("\u{feff}{plain}").into_bytes()),
        ("UTF-16, little endian", utf16(&plain, true, u16::to_le_bytes)),
        ("UTF-16, big endian", utf16(&plain, true, u16::to_be_bytes)),
        ("UTF-16 without a mark", utf16(&plain, false, u16::to_le_bytes)),
        ("UTF-16 without a mark, big endian", utf16(&plain, false, u16::to_be_bytes)),
        ("Excel's Unicode text", utf16(&tabs.replace('\n', "\r\n"), true, u16::to_le_bytes)),
        ("a line that names the separator", with_sep.clone().into_bytes()),
        ("the same behind a mark", format!("\u{feff}{with_sep}").into_bytes()),
        ("a header in another case", plain.replacen(HEADER, &HEADER.to_uppercase(), 1).into_bytes()),
        ("words in the header", plain.replacen(HEADER, "Organization ID,tenant_id,asset_name,asset-id,assettype,METER_NAME,meter id,Start,End,Quantity,Billing Region,Platform,Trial,trial_expiry", 1).into_bytes()),
        ("the end of a file of DOS", format!("{plain}\u{1a}").into_bytes()),
        ("blanks in the header", plain.replacen(HEADER, &HEADER.replace(',', " ,\t"), 1).into_bytes()),
        ("a quoted header", plain.replacen(HEADER, &format!("\"{}\"", HEADER.replace(',', "\",\"")), 1).into_bytes()),
        ("a comma behind every row", trailing.clone().into_bytes()),
        ("several commas behind every row", plain.replace('\n', ",,,\n").into_bytes()),
        ("a comma behind the header only", plain.replacen('\n', ",\n", 1).into_bytes()),
        ("commas behind some rows", format!("{HEADER}\n{}", trailing.split_once('\n').unwrap().1).into_bytes()),
        ("rows of commas only", plain.replace('\n', "\n,,,,,,,,,,,,,\n,,,\n  \n").into_bytes()),
        ("rows of commas before the header", format!(",,,,\n\n{plain}").into_bytes()),
        ("gzip", gzip(plain.as_bytes())),
        ("zstd", zstd(plain.as_bytes())),
        ("gzip of UTF-16", gzip(&utf16(&plain, true, u16::to_le_bytes))),
        ("two gzip files", [gzip(pieces[0].as_bytes()), gzip(pieces[1].as_bytes())].concat()),
        ("two zstd files", [zstd(pieces[0].as_bytes()), zstd(pieces[1].as_bytes())].concat()),
        ("gzip with zeros behind it", [gzip(plain.as_bytes()), vec![0; 300_000]].concat()),
        ("gzip, zeros, and gzip", [gzip(pieces[0].as_bytes()), vec![0; 9], gzip(pieces[1].as_bytes())].concat()),
        ("the header twice", twice.into_bytes()),
        ("files that were put together", pieces.concat().into_bytes()),
        ("files with marks that were put together", marked.concat().into_bytes()),
        ("quoted files with marks that were put together", quoted.concat().into_bytes()),
        (
            "the same with marks",
            pieces.clone().map(|piece| format!("\u{feff}sep=,\n{piece}")).concat().into_bytes(),
        ),
        (
            "files with separator lines that were put together",
            pieces.map(|piece| format!("sep=,\n{piece}")).concat().into_bytes(),
        ),
    ] {
        let said = import(&database, bytes, &[]).await;
        assert!(said.err.is_empty(), "{what}: {said:?}");
        assert_eq!(said.out, "-: unchanged (2 records, 1 loads)\n", "{what}");
    }
    assert_eq!(may(&database).await, [row("Smith, J\u{fc}rgen \u{1f600}", "a", "1.50"), row("B", "b", "2")]);
}

/// Whatever a file is called, its first bytes say what is in it.
#[tokio::test]
async fn names_of_files_say_nothing() {
    let database = sample().await;
    let folder = tempfile::tempdir().unwrap();
    let plain = usage();
    for (name, bytes) in [
        ("usage.csv.gz", plain.clone().into_bytes()),
        ("usage.csv", gzip(plain.as_bytes())),
        ("usage", zstd(plain.as_bytes())),
        ("usage.gz", zstd(plain.as_bytes())),
        ("usage.zst", gzip(plain.as_bytes())),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let report = database.import_file(path, "default", true).await;
        assert_eq!(report.map(|report| report.record_count).map_err(|error| error.to_string()), Ok(2), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_usage_is_named_in_one_line() {
    let database = sample().await;
    let plain = usage();
    let semicolons = plain.replace(',', ";");
    let tabs = plain.replace(',', "\t");
    let bars = plain.replace(',', "|");
    let whole = gzip(plain.repeat(50).as_bytes());
    let mut tar = vec![0; 1024];
    tar[..9].copy_from_slice(b"usage.csv");
    tar[257..262].copy_from_slice(b"ustar");
    let cut = gzip(plain.as_bytes());
    for (bytes, said) in [
        (
            semicolons.clone().into_bytes(),
            "fields are separated by semicolons, not by commas: save the file with commas between fields",
        ),
        (format!("\u{feff}sep=;\n{semicolons}").into_bytes(), "fields are separated by semicolons, not by commas: "),
        (
            format!("\"{}\"\n", HEADER.replace(',', "\";\"")).into_bytes(),
            "fields are separated by semicolons, not by commas: ",
        ),
        (utf16(&semicolons, true, u16::to_le_bytes), "fields are separated by semicolons, not by commas: "),
        (tabs.into_bytes(), "fields are separated by tabs, not by commas: "),
        (bars.into_bytes(), "fields are separated by vertical bars, not by commas: "),
        (
            b"PK\x03\x04\x14\0\x08\0usage.csv".to_vec(),
            "this is a ZIP archive, not CSV: unpack it, and import the files in it",
        ),
        (
            b"PK\x03\x04\x14\0\x06\0[Content_Types].xml".to_vec(),
            "this is a workbook of a spreadsheet program, not CSV: save it as CSV",
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), "this is an Excel workbook (.xls), not CSV: save it as CSV"),
        (b"BZh91AY&SY".to_vec(), "this is a bzip2 file, not CSV: decompress it, or compress it with gzip or zstd"),
        (b"\xfd7zXZ\0\0\x04".to_vec(), "this is an xz file, not CSV: "),
        (b"7z\xbc\xaf\x27\x1c".to_vec(), "this is a 7-Zip archive, not CSV: "),
        (b"PAR1\x15\x04".to_vec(), "this is a Parquet file, not CSV: export it as CSV"),
        (tar.clone(), "this is a tar archive, not CSV: "),
        (gzip(&tar), "this is a tar archive, not CSV: "),
        (gzip(&gzip(b"x")), "this is a file that is compressed twice, not CSV: decompress it once"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n".to_vec(),
            "this is a Git LFS pointer, not CSV: get the file with `git lfs pull`",
        ),
        (
            b"\n<!DOCTYPE html>\n<html>".to_vec(),
            "this is an HTML page, perhaps a login page, not CSV: download the file itself",
        ),
        (b"<?xml version=\"1.0\"?>".to_vec(), "this is XML, not CSV: save it as CSV"),
        (b"\xef\xbb\xbf{\"records\": []}".to_vec(), "this is JSON, not CSV: save it as CSV"),
        (b"\xff\xfe\0\0o\0\0\0".to_vec(), "this is a text in UTF-32, not CSV: save it as CSV"),
    ] {
        let answer = import(&database, bytes, &[]).await;
        assert!(!answer.ok && answer.out.is_empty(), "{answer:?}");
        let expected = format!("error: -: {said}");
        assert!(answer.err.starts_with(&expected) && answer.err.lines().count() == 1, "{answer:?}, and not {said}");
    }
    for bytes in [
        whole[..whole.len() - 9].to_vec(),
        whole[..whole.len() / 2].to_vec(),
        cut[..cut.len() - 1].to_vec(),
        cut[..15].to_vec(),
    ] {
        let answer = import(&database, bytes, &[]).await;
        assert_eq!(
            answer.err,
            "error: -: the gzip data ends too early, so the file is incomplete: copy or download it again\n",
            "{answer:?}"
        );
    }
    let whole = zstd(plain.repeat(50).as_bytes());
    let answer = import(&database, &whole[..whole.len() - 5], &[]).await;
    assert_eq!(
        answer.err,
        "error: -: the zstd data ends too early, so the file is incomplete: copy or download it again\n"
    );
    let mut damaged = gzip(plain.repeat(50).as_bytes());
    damaged[40] ^= 0xff;
    let answer = import(&database, damaged, &[]).await;
    assert!(
        answer.err.starts_with("error: -: the gzip data cannot be read (") && answer.err.lines().count() == 1,
        "{answer:?}"
    );
}

#[tokio::test]
async fn headers_are_refused_by_the_line() {
    let database = sample().await;
    let usage = usage();
    let rows = usage.split_once('\n').unwrap().1;
    let reordered = format!("tenantId,organizationId{}", &HEADER["organizationId,tenantId".len()..]);
    for (text, problems) in [
        (String::new(), &["line 1: the file is empty; the first line must name the columns"][..]),
        ("\n\n".to_owned(), &["line 1: the file is empty"]),
        (
            rows.to_owned(),
            &[
                "line 1 \"6b0e7a52-91f1-4b2c-a5e2-5ba3e2a7d701,0f8fad5b-d9cb-469f-a165-70867728950e,Smith,…\": no field of this line is a column of the report",
            ],
        ),
        (
            format!("\n{}", usage.replace("trialExpiry", "trialEnd")),
            &[
                "line 2 \"trialEnd\": is not a column of the report; remove it",
                "line 2, trialExpiry \"\": the column is missing",
            ],
        ),
        (
            "MeterId,MeterName,Quantity,Cost\n1,2,3,4\n".to_owned(),
            &["line 1: this is another report: of the 14 columns, it has only meterId, meterName, quantity"],
        ),
        (
            usage.replacen("trialExpiry", "trial", 1),
            &["line 1 \"trial\": occurs twice; remove one of them", "line 1, trialExpiry \"\": the column is missing"],
        ),
        (
            usage.replacen(HEADER, &format!("{HEADER},,"), 1).replace(",FALSE,", ",FALSE,,x,"),
            &[
                "line 2 \"x\": this value is in column 15, which has no name in the header",
                "line 3 \"x\": this value is in column 15, which has no name in the header",
            ],
        ),
        (
            usage.replace(",FALSE,", ",FALSE,,x"),
            &[
                "line 2: the row has 15 fields; the header has 14; put quotes around texts that contain a comma",
                "line 3: the row has 15 fields; the header has 14; put quotes around texts that contain a comma",
            ],
        ),
        (
            usage.replace(",FALSE,", ""),
            &["line 2: the row has 12 fields; the header has 14", "line 3: the row has 12 fields; the header has 14"],
        ),
        (
            format!("{usage}{reordered}\n"),
            &["line 4: this header has its columns in another order than the first one: import the original files"],
        ),
    ] {
        assert_refused(&import(&database, text, &[]).await, problems);
    }
    let latin: Vec<u8> = usage.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect();
    assert_refused(
        &import(&database, latin, &[]).await,
        &["line 2, assetName \"Smith, J\u{fffd}rgen ?\": is not UTF-8; save the file as UTF-8"],
    );
    let mut broken = utf16(&usage, true, u16::to_le_bytes);
    let smiley = broken.windows(2).position(|unit| unit == 0xD83D_u16.to_le_bytes()).unwrap();
    broken.drain(smiley..smiley + 2);
    assert_refused(
        &import(&database, broken, &[]).await,
        &[
            "line 2, assetName \"Smith, J\u{fc}rgen \u{fffd}\u{fffd}\u{fffd}\": is not valid UTF-16; save the file as UTF-8",
        ],
    );
}

/// A catalog may have a mark of UTF-8, too.
#[tokio::test]
async fn catalogs_may_have_a_mark() {
    use secure_connect_reports::catalog::{CatalogFormat, read};
    let json =
        "\u{feff}{\"meters\": [{\"id\": \"cccccccc-0000-4000-8000-000000000001\", \"name\": \"m\", \"unit\": \"u\"}]}";
    assert_eq!(read(json, CatalogFormat::Json).expect("a catalog").meters.len(), 1);
    let toml = "\u{feff}[[meters]]\nid = \"cccccccc-0000-4000-8000-000000000001\"\nname = \"m\"\nunit = \"u\"\n";
    assert_eq!(read(toml, CatalogFormat::Toml).expect("a catalog").meters.len(), 1);
    // Prices have the same spellings as quantities.
    let prices = "[[prices]]\nmeter = \"m\"\ncurrency = \"USD\"\neffective_from = \"2022-01\"\ntiers = [{ up_to = \"1e3\", unit_price = \"8.5E-2\" }, { unit_price = \".06\" }]\n";
    let catalog = read(prices, CatalogFormat::Toml).expect("a catalog");
    let tiers = catalog.prices[0].pricing.model.tiers();
    let texts: Vec<String> = tiers
        .iter()
        .flat_map(|tier| [tier.up_to.map(|end| end.to_string()).unwrap_or_default(), tier.unit_price.to_string()])
        .collect();
    assert_eq!(texts, ["1000", "0.085", "", "0.06"]);
}
