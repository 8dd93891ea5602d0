//! Words of FOCUS, the FinOps Open Cost and Usage Specification.

use std::str::FromStr;

/// A text is not a service subcategory of FOCUS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a service subcategory of FOCUS, such as Network Connectivity, Network Security, Identity and Access Management or \
     Other (Security); the specification lists them all"
)]
pub struct InvalidServiceSubcategory;

/// What a service is for. Each subcategory is of one category, and versions 1.2 to 1.4 have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSubcategory {
    category: &'static str,
    name: &'static str,
}

/// Categories and their subcategories, as FOCUS 1.2 and 1.4 list them under `ServiceSubcategory`.
const CATEGORIES: [(&str, &[&str]); 19] = [
    (
        "AI and Machine Learning",
        &[
            "AI Platforms",
            "Bots",
            "Generative AI",
            "Machine Learning",
            "Natural Language Processing",
            "Other (AI and Machine Learning)",
        ],
    ),
    (
        "Analytics",
        &[
            "Analytics Platforms",
            "Business Intelligence",
            "Data Processing",
            "Search",
            "Streaming Analytics",
            "Other (Analytics)",
        ],
    ),
    ("Business Applications", &["Productivity and Collaboration", "Other (Business Applications)"]),
    (
        "Compute",
        &[
            "Containers",
            "End User Computing",
            "Quantum Compute",
            "Serverless Compute",
            "Virtual Machines",
            "Other (Compute)",
        ],
    ),
    (
        "Databases",
        &[
            "Caching",
            "Data Warehouses",
            "Ledger Databases",
            "NoSQL Databases",
            "Relational Databases",
            "Time Series Databases",
            "Other (Databases)",
        ],
    ),
    (
        "Developer Tools",
        &[
            "Developer Platforms",
            "Continuous Integration and Deployment",
            "Development Environments",
            "Source Code Management",
            "Quality Assurance",
            "Other (Developer Tools)",
        ],
    ),
    ("Identity", &["Identity and Access Management", "Other (Identity)"]),
    ("Integration", &["API Management", "Messaging", "Workflow Orchestration", "Other (Integration)"]),
    ("Internet of Things", &["IoT Analytics", "IoT Platforms", "Other (Internet of Things)"]),
    (
        "Management and Governance",
        &[
            "Architecture",
            "Compliance",
            "Cost Management",
            "Data Governance",
            "Disaster Recovery",
            "Endpoint Management",
            "Observability",
            "Support",
            "Other (Management and Governance)",
        ],
    ),
    ("Media", &["Content Creation", "Gaming", "Media Streaming", "Mixed Reality", "Other (Media)"]),
    ("Migration", &["Data Migration", "Resource Migration", "Other (Migration)"]),
    ("Mobile", &["Other (Mobile)"]),
    ("Multicloud", &["Multicloud Integration", "Other (Multicloud)"]),
    (
        "Networking",
        &[
            "Application Networking",
            "Content Delivery",
            "Network Connectivity",
            "Network Infrastructure",
            "Network Routing",
            "Network Security",
            "Other (Networking)",
        ],
    ),
    ("Other", &["Other (Other)"]),
    (
        "Security",
        &["Secret Management", "Security Posture Management", "Threat Detection and Response", "Other (Security)"],
    ),
    (
        "Storage",
        &["Backup Storage", "Block Storage", "File Storage", "Object Storage", "Storage Platforms", "Other (Storage)"],
    ),
    ("Web", &["Application Platforms", "Other (Web)"]),
];

// === impl ServiceSubcategory ===

impl ServiceSubcategory {
    /// Networks are connected, which is what remote access is for.
    pub const NETWORK_CONNECTIVITY: Self = Self { category: "Networking", name: "Network Connectivity" };

    pub fn category(self) -> &'static str {
        self.category
    }

    pub fn name(self) -> &'static str {
        self.name
    }
}

impl FromStr for ServiceSubcategory {
    type Err = InvalidServiceSubcategory;

    fn from_str(text: &str) -> Result<Self, InvalidServiceSubcategory> {
        let all =
            CATEGORIES.iter().flat_map(|&(category, names)| names.iter().map(move |&name| Self { category, name }));
        let mut found = all.filter(|subcategory| subcategory.name.eq_ignore_ascii_case(text));
        found.next().ok_or(InvalidServiceSubcategory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subcategory_is_of_one_category() {
        let mut names: Vec<&str> = CATEGORIES.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(names.len(), 82);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 82);
        let default = ServiceSubcategory::NETWORK_CONNECTIVITY;
        assert_eq!(default.name().parse(), Ok(default));
        let other: ServiceSubcategory = "other (security)".parse().expect("it is one");
        assert_eq!((other.category(), other.name()), ("Security", "Other (Security)"));
        assert_eq!("Networking".parse::<ServiceSubcategory>(), Err(InvalidServiceSubcategory));
    }
}
