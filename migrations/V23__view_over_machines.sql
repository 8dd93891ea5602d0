-- Records and assets may lie on other machines than loads, tenants and meters (docs/decisions/068): these are selected for themselves,
-- and then joined. On one machine it is the same query.
CREATE OR REPLACE VIEW detailed_usage_report AS
SELECT l.organization_id AS "organizationId",
       l.tenant_id AS "tenantId",
       a.asset_name AS "assetName",
       a.asset_id AS "assetId",
       (ARRAY['USER', 'TRANSPORT', 'TENANT', 'GATEWAY', 'ENDPOINT'])[a.asset_type] AS "assetType",
       m.name AS "meterName",
       m.meter_id AS "meterId",
       r.period_start AS "start",
       r.period_end AS "end",
       r.quantity AS "quantity",
       (ARRAY['AF', 'AP', 'EU', 'NA'])[r.billing_region] AS "billingRegion",
       (ARRAY['mcp', 'azure'])[r.platform] AS "platform",
       r.trial AS "trial",
       r.trial_expiry AS "trialExpiry"
FROM (
    SELECT t.organization_id, t.tenant_id, present.tenant_key, present.usage_month, present.load_id
    FROM usage_load present
    JOIN tenant t ON t.tenant_key = present.tenant_key
    WHERE NOT EXISTS (
        SELECT FROM usage_load newer
        WHERE newer.tenant_key = present.tenant_key AND newer.usage_month = present.usage_month
          AND newer.usage_day = present.usage_day AND newer.source = present.source
          AND newer.published_at > present.published_at)
) AS l
JOIN usage_record r ON r.tenant_key = l.tenant_key AND r.usage_month = l.usage_month AND r.load_id = l.load_id
JOIN asset a ON a.tenant_key = r.tenant_key AND a.asset_key = r.asset_key
JOIN (SELECT meter_key, name, meter_id FROM meter) AS m ON m.meter_key = r.meter_key;
