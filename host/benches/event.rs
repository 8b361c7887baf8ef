//! What the batch costs per event, without any rule: decode, columns, edits, splice. The chain's
//! own benchmark puts rules between them.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use host::event::{
    Batch, ColumnId, Edit, Edits, EventInput, FieldChange, Layout, OwnedValue, Source, Spread,
    WriteId,
};

const EVENTS: usize = 1000;

/// Login events of about 182 bytes; with `distinct`, every device type is another one.
fn logins(distinct: bool) -> Vec<String> {
    let devices = ["android", "iOS", "web", "tablet"];
    let (locales, versions) = (["RU", "US", "DE", "FR", "IN"], ["2.3.0", "2.4.1", "3.0.0"]);
    let login = |event: usize| {
        let scattered = event.wrapping_mul(0x9e37_79b9) >> 7;
        let device = if distinct {
            format!("device-{scattered}")
        } else {
            devices[scattered % devices.len()].to_owned()
        };
        format!(
            concat!(
                r#"{{"user_id":"424cdd21-063a-43a7-b91b-{:012x}","app_version":"{}","#,
                r#""device_type":"{}","ip":"199.172.{}.{}","locale":"{}","#,
                r#""device_id":"593-47-{:04}","timestamp":{}}}"#
            ),
            scattered,
            versions[scattered % versions.len()],
            device,
            scattered % 256,
            event % 256,
            locales[scattered % locales.len()],
            event % 10_000,
            1_694_479_551 + event / 10,
        )
    };
    (0..EVENTS).map(login).collect()
}

struct Job {
    layout: Layout,
    columns: [ColumnId; 4],
    writes: [WriteId; 2],
}

/// What the default rules read and write.
fn job() -> Job {
    let mut builder = Layout::builder();
    let columns = ["/device_type", "/locale", "/app_version", "/timestamp"]
        .map(|pointer| builder.column(&Source::Field(pointer.into())).expect("a pointer"));
    let writes =
        ["/device_category", "/anomaly"].map(|pointer| builder.write(pointer).expect("a pointer"));
    Job { layout: builder.build(), columns, writes }
}

fn edits(batch: &mut Batch<'_>, job: &Job) {
    let distinct = batch.column(job.columns[0]).len();
    let category = Edit::Set(OwnedValue::Text("Mobile".into()));
    let categories = Edits::Values(vec![category; distinct]);
    let anomaly = Edits::Values(vec![Edit::Set(OwnedValue::Boolean(false))]);
    let changes = [
        FieldChange {
            write: job.writes[0],
            edits: &categories,
            spread: Spread::Column(job.columns[0]),
        },
        FieldChange { write: job.writes[1], edits: &anomaly, spread: Spread::Constant },
    ];
    assert_eq!(batch.apply(None, &changes), Ok(Vec::new()));
}

fn bench(criterion: &mut Criterion) {
    let job = job();
    for (name, distinct) in [("few", false), ("distinct", true)] {
        let texts = logins(distinct);
        let bytes: usize = texts.iter().map(String::len).sum();
        let inputs: Vec<_> = texts
            .iter()
            .map(|text| EventInput {
                text: text.as_bytes(),
                key: None,
                headers: &[],
                timestamp: None,
            })
            .collect();
        let mut group = criterion.benchmark_group(format!("event/{name}"));
        group.throughput(Throughput::Elements(EVENTS as u64));
        group.bench_function("decode", |bencher| {
            bencher.iter_with_large_drop(|| Batch::decode(&job.layout, black_box(&inputs)));
        });
        group.bench_function("columns", |bencher| {
            bencher.iter_batched(
                || Batch::decode(&job.layout, &inputs),
                |mut batch| {
                    batch.prepare(&job.columns);
                    batch
                },
                BatchSize::LargeInput,
            );
        });
        let mut out = Vec::with_capacity(2 * bytes);
        group.bench_function("whole", |bencher| {
            bencher.iter(|| {
                let mut batch = Batch::decode(&job.layout, black_box(&inputs));
                batch.prepare(&job.columns);
                edits(&mut batch, &job);
                out.clear();
                for position in 0..EVENTS as u32 {
                    black_box(batch.write(position, &mut out));
                }
                out.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
