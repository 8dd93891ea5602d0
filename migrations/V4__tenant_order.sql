-- Lists of tenants in their order without sorting all of them.

ALTER TABLE tenant ADD COLUMN organization_name text COLLATE "C";
UPDATE tenant t SET organization_name = o.name FROM organization o WHERE o.organization_id = t.organization_id;
ALTER TABLE tenant ALTER COLUMN organization_name SET NOT NULL;
CREATE INDEX tenant_order ON tenant (organization_name, name, tenant_id);
COMMENT ON COLUMN tenant.organization_name IS 'That of the organization, so that one index has the order of lists; the catalog keeps the two alike.';
