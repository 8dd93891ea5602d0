//! Assets whose ids look alike: they differ in their Unicode normal form only.

use super::by_tenant::{TenantTerms, parts};
use crate::{
    database::Statements as _,
    model::AssetType,
    store::{ImportSession, StoreError, TenantKey},
};

/// An asset of a delivery whose id has other characters than those of ASCII.
#[derive(Clone, Copy, Debug)]
pub struct UnicodeAsset<'a> {
    /// Whose asset.
    pub tenant: TenantKey,
    pub asset_type: AssetType,
    pub id: &'a str,
    /// The id, [composed](crate::model::composed).
    pub composed: &'a str,
}

impl ImportSession {
    /// The other ids that are there and look like ids of a delivery that are new: each with the position of the one that it
    /// looks like. Ids that are there have been told of when they came.
    pub async fn alike_assets(&self, assets: &[UnicodeAsset<'_>]) -> Result<Vec<(usize, String)>, StoreError> {
        let mut alike = Vec::new();
        let mut before = 0;
        for part in parts(self.layout, assets, |asset| asset.tenant) {
            let found = self.alike_of_part(part).await?;
            alike.extend(found.into_iter().map(|(position, id)| (before + position, id)));
            before += part.len();
        }
        Ok(alike)
    }

    async fn alike_of_part(&self, assets: &[UnicodeAsset<'_>]) -> Result<Vec<(usize, String)>, StoreError> {
        let terms = TenantTerms::of(self.layout);
        let TenantTerms { array, column, of_row } = &terms;
        let tenants = terms.bind(assets.iter().map(|asset| asset.tenant.0).collect());
        let types: Vec<i16> = assets.iter().map(|asset| asset.asset_type.code()).collect();
        let ids: Vec<&str> = assets.iter().map(|asset| asset.id).collect();
        let composed: Vec<&str> = assets.iter().map(|asset| asset.composed).collect();
        let rows = self
            .connections
            .lookups
            .fetch_all(
                &format!(
                    "-- alike_assets
                SELECT wanted.n, a.asset_id
                FROM unnest({array}$2::smallint[], $3::text[], $4::text[])
                     WITH ORDINALITY AS wanted ({column}asset_type, asset_id, composed, n)
                CROSS JOIN LATERAL (
                    SELECT DISTINCT a.asset_id FROM asset a
                    WHERE a.tenant_key = {of_row} AND a.asset_type = wanted.asset_type
                      AND octet_length(a.asset_id) <> char_length(a.asset_id)
                      AND normalize(a.asset_id) = wanted.composed
                      AND a.asset_id <> wanted.asset_id
                    OFFSET 0
                ) AS a
                WHERE NOT EXISTS (
                    SELECT FROM asset known
                    WHERE known.tenant_key = {of_row} AND known.asset_type = wanted.asset_type
                      AND known.asset_id = wanted.asset_id
                )
                ORDER BY wanted.n, a.asset_id"
                ),
                &[&*tenants, &types, &ids, &composed],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let position: i64 = row.try_get("n")?;
                let position =
                    usize::try_from(position - 1).map_err(|_| StoreError::corrupt("an id has no position"))?;
                Ok((position, row.try_get("asset_id")?))
            })
            .collect()
    }
}
