//! What is done for each record, the fast ways next to the plain ones: `make microbench`.

mod records;

use divan::{Bencher, counter::ItemsCount};

use records::Hot;

fn main() {
    divan::main();
}

fn run(bencher: Bencher<'_, '_>, work: impl Fn(&mut Hot) -> usize) {
    let mut hot = Hot::new();
    bencher.counter(ItemsCount::new(Hot::RECORDS)).bench_local(|| work(&mut hot));
}

#[divan::bench]
fn server_reads_a_block(bencher: Bencher<'_, '_>) {
    run(bencher, |hot| hot.read_block());
}

#[divan::bench]
fn server_encodes(bencher: Bencher<'_, '_>) {
    run(bencher, Hot::encode);
}

#[divan::bench]
fn server_encodes_plainly(bencher: Bencher<'_, '_>) {
    run(bencher, Hot::encode_plainly);
}

#[divan::bench]
fn client_writes_lines(bencher: Bencher<'_, '_>) {
    run(bencher, Hot::write_lines);
}

#[divan::bench]
fn client_writes_lines_plainly(bencher: Bencher<'_, '_>) {
    run(bencher, Hot::write_lines_plainly);
}

#[divan::bench]
fn import_writes_lines_to_digest(bencher: Bencher<'_, '_>) {
    run(bencher, Hot::write_records);
}
