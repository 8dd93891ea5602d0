//! Compiles the contract under `proto/` with protox, so that no protoc is needed on the machine.

use std::path::{Path, PathBuf};

use prost::Message as _;

const PROTOS: [&str; 11] = [
    "secureconnect/reports/v1/billing_service.proto",
    "secureconnect/reports/v1/compare_costs.proto",
    "secureconnect/reports/v1/cost_breakdown.proto",
    "secureconnect/reports/v1/focus_costs.proto",
    "secureconnect/reports/v1/loads.proto",
    "secureconnect/reports/v1/tenant_usage.proto",
    "secureconnect/reports/v1/types.proto",
    "secureconnect/reports/v1/organizations.proto",
    "secureconnect/reports/v1/prices.proto",
    "secureconnect/reports/v1/reports_service.proto",
    "secureconnect/reports/v1/usage_import_service.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=migrations");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // Served by reflection, so that grpcurl needs no .proto files.
    let out: &Path = &out_dir.join("descriptors.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .compile_fds(descriptors)?;
    Ok(())
}
