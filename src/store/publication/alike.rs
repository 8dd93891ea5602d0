//! Assets whose ids look alike: they differ in their Unicode normal form only.

use super::places::{Places, with};
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
        let places =
            Places::of(&self.connections.lookups, self.layout, assets.iter().map(|asset| asset.tenant)).await?;
        let Some(parts) = places.parts(assets, |asset| asset.tenant) else {
            return self.alike_of_part(&places, assets).await;
        };
        let mut alike = Vec::new();
        for part in parts {
            let of_part: Vec<UnicodeAsset<'_>> = part.iter().map(|&n| assets[n]).collect();
            let found = self.alike_of_part(&places, &of_part).await?;
            alike.extend(found.into_iter().map(|(position, id)| (part[position], id)));
        }
        alike.sort_by_key(|&(position, _)| position);
        Ok(alike)
    }

    async fn alike_of_part(
        &self,
        places: &Places,
        assets: &[UnicodeAsset<'_>],
    ) -> Result<Vec<(usize, String)>, StoreError> {
        let tenants: Vec<i64> = assets.iter().map(|asset| asset.tenant.0).collect();
        let of_shard = places.bind(&tenants);
        let place = places.condition(5);
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
                FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::text[])
                     WITH ORDINALITY AS wanted (tenant_key, asset_type, asset_id, composed, n)
                CROSS JOIN LATERAL (
                    SELECT DISTINCT a.asset_id FROM asset a
                    WHERE a.tenant_key = wanted.tenant_key{place} AND a.asset_type = wanted.asset_type
                      AND octet_length(a.asset_id) <> char_length(a.asset_id)
                      AND normalize(a.asset_id) = wanted.composed
                      AND a.asset_id <> wanted.asset_id
                    OFFSET 0
                ) AS a
                WHERE NOT EXISTS (
                    SELECT FROM asset known
                    WHERE known.tenant_key = wanted.tenant_key{place} AND known.asset_type = wanted.asset_type
                      AND known.asset_id = wanted.asset_id
                )
                ORDER BY wanted.n, a.asset_id"
                ),
                &with(vec![&tenants, &types, &ids, &composed], of_shard.as_ref()),
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
