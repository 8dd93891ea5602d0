//! How many calls a second a server answers: `calls URL KIND CONNECTIONS CALLS COUNT IDS...` makes COUNT calls about these ids in
//! turns, over so many connections with so many calls at a time on each, and prints how many it got a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use secure_connect_reports::contract::proto::{
    GetDetailedUsageRequest, GetMonthlyCostsRequest, ListTenantsRequest, YearMonth,
    reports_service_client::ReportsServiceClient,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

type Stub = ReportsServiceClient<Channel>;

const MONTH: Option<YearMonth> = Some(YearMonth { year: 2022, month: 2 });

#[derive(Clone, Copy)]
enum Kind {
    /// The detailed usage of a tenant.
    Usage,
    /// The costs of an organization.
    Costs,
    /// A search for a tenant by its id.
    Tenants,
}

async fn call(stub: &mut Stub, kind: Kind, id: &str) -> Result<(), Status> {
    match kind {
        Kind::Usage => {
            let request = GetDetailedUsageRequest {
                tenant_id: id.to_owned(),
                month: MONTH,
                ..GetDetailedUsageRequest::default()
            };
            let mut stream = stub.get_detailed_usage(request).await?.into_inner();
            while stream.message().await?.is_some() {}
        }
        Kind::Costs => {
            let request = GetMonthlyCostsRequest {
                organization_id: id.to_owned(),
                start_month: MONTH,
                ..GetMonthlyCostsRequest::default()
            };
            stub.get_monthly_costs(request).await?;
        }
        Kind::Tenants => {
            stub.list_tenants(ListTenantsRequest { search: id.to_owned(), ..ListTenantsRequest::default() }).await?;
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [url, kind, connections, calls, count, ids @ ..] = arguments.as_slice() else {
        return Err("usage: calls URL usage|costs|tenants CONNECTIONS CALLS COUNT IDS...".into());
    };
    let kind = match kind.as_str() {
        "usage" => Kind::Usage,
        "costs" => Kind::Costs,
        "tenants" => Kind::Tenants,
        other => return Err(format!("there is no kind {other:?}").into()),
    };
    let (connections, calls, count): (usize, usize, usize) = (connections.parse()?, calls.parse()?, count.parse()?);
    let ids: Arc<[String]> = ids.into();
    let mut stubs = Vec::new();
    for _ in 0..connections {
        let channel = Endpoint::from_shared(url.clone())?.connect().await?;
        stubs.push(Stub::new(channel).max_decoding_message_size(64 << 20));
    }
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for stub in stubs.iter().flat_map(|stub| std::iter::repeat_n(stub, calls)) {
        let (mut stub, next, ids) = (stub.clone(), Arc::clone(&next), Arc::clone(&ids));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                call(&mut stub, kind, &ids[number % ids.len()]).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker?.map_err(|status: Status| status.message().to_owned())?;
    }
    println!("{:.0}", count as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
