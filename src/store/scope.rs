//! The caller's scope as a condition of statements.

use uuid::Uuid;

use crate::auth::TenantScope;

/// Whether an organization is within the scope that [`bind`] has put in the place of `parameter`.
pub(super) fn condition(organization_id: &str, parameter: &str) -> String {
    format!("({parameter}::uuid[] IS NULL OR {organization_id} = ANY ({parameter}))")
}

/// The scope as a parameter: null stands for every organization.
pub(super) fn bind(scope: &TenantScope) -> Option<Vec<Uuid>> {
    scope.organizations().map(|ids| ids.iter().map(|id| id.as_uuid()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_one_term() {
        let expected = "($2::uuid[] IS NULL OR t.organization_id = ANY ($2))";
        assert_eq!(condition("t.organization_id", "$2"), expected);
    }
}
