-- Organizations, tenants, meters and price lists: what `catalog apply` writes.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE organization (
    organization_id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$')
);
COMMENT ON TABLE organization IS 'Buys Secure Connect and pays for it.';
COMMENT ON COLUMN organization.organization_id IS 'The GUID that the outside world uses.';
COMMENT ON COLUMN organization.name IS 'Shown in lists; ordered by its bytes.';
COMMENT ON COLUMN organization.currency IS 'ISO 4217; fixed once a tenant of the organization has usage.';

CREATE SEQUENCE tenant_key_seq;
CREATE TABLE tenant (
    tenant_key bigint PRIMARY KEY DEFAULT nextval('tenant_key_seq'),
    tenant_id uuid NOT NULL UNIQUE,
    organization_id uuid NOT NULL REFERENCES organization,
    name text COLLATE "C" NOT NULL CHECK (name <> ''),
    status smallint NOT NULL CHECK (status BETWEEN 1 AND 5),
    plan text COLLATE "C" NOT NULL,
    trial boolean NOT NULL,
    trial_expiry timestamptz,
    search_text text COLLATE "C" NOT NULL
);
CREATE INDEX tenant_organization ON tenant (organization_id);
CREATE INDEX tenant_search ON tenant USING gin (search_text gin_trgm_ops);
COMMENT ON TABLE tenant IS 'A Secure Connect installation of an organization; the key that per-tenant tables spread by.';
COMMENT ON COLUMN tenant.tenant_key IS 'Stands for the tenant in every per-tenant table: half the size of the GUID.';
COMMENT ON COLUMN tenant.tenant_id IS 'The GUID that the outside world uses.';
COMMENT ON COLUMN tenant.organization_id IS 'Whose tenant it is; fixed once the tenant has usage.';
COMMENT ON COLUMN tenant.name IS 'Shown in lists; ordered by its bytes; not unique.';
COMMENT ON COLUMN tenant.status IS '1 PENDING, 2 FAILED, 3 NORMAL, 4 SUSPENDED, 5 CANCELLED.';
COMMENT ON COLUMN tenant.plan IS 'The commercial plan; meters are named per plan.';
COMMENT ON COLUMN tenant.trial IS 'Whether the tenant is on trial now; usage records have a flag of their own.';
COMMENT ON COLUMN tenant.trial_expiry IS 'When the trial expires or expired.';
COMMENT ON COLUMN tenant.search_text IS
    'Tenant name, tenant id and organization name in lower case with U+001F between them; lowered by the service, so that no database locale plays a part.';

CREATE SEQUENCE meter_key_seq;
CREATE TABLE meter (
    meter_key bigint PRIMARY KEY DEFAULT nextval('meter_key_seq'),
    meter_id uuid NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL UNIQUE CHECK (name <> ''),
    unit text COLLATE "C" NOT NULL
);
COMMENT ON TABLE meter IS 'What is measured.';
COMMENT ON COLUMN meter.meter_key IS 'Stands for the meter in usage tables.';
COMMENT ON COLUMN meter.meter_id IS 'The GUID that the outside world uses.';
COMMENT ON COLUMN meter.name IS 'For instance bandwidth_gib_essentials; never changed, since reports show it.';
COMMENT ON COLUMN meter.unit IS 'What one is of, for instance GiB; never changed, since quantities are kept in it.';

CREATE SEQUENCE price_id_seq;
CREATE TABLE price (
    price_id bigint PRIMARY KEY DEFAULT nextval('price_id_seq'),
    meter_key bigint NOT NULL REFERENCES meter,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    billing_region smallint CHECK (billing_region BETWEEN 1 AND 4),
    effective_from date NOT NULL CHECK (extract(day FROM effective_from) = 1),
    applied_at timestamptz NOT NULL,
    superseded_at timestamptz CHECK (superseded_at > applied_at)
);
CREATE UNIQUE INDEX price_in_force ON price (meter_key, currency, coalesce(billing_region, 0), effective_from)
    WHERE superseded_at IS NULL;
COMMENT ON TABLE price IS
    'A graduated price of a meter, in force from a month on. Never updated: a correction supersedes it, so that past bills can be shown again.';
COMMENT ON COLUMN price.price_id IS 'Key.';
COMMENT ON COLUMN price.meter_key IS 'What is priced.';
COMMENT ON COLUMN price.currency IS 'ISO 4217; applies to organizations of this currency.';
COMMENT ON COLUMN price.billing_region IS '1 AF, 2 AP, 3 EU, 4 NA; null: every region that has no price of its own.';
COMMENT ON COLUMN price.effective_from IS 'First day of the first month that it applies to.';
COMMENT ON COLUMN price.applied_at IS 'When it was published, by the publication clock.';
COMMENT ON COLUMN price.superseded_at IS 'When a correction of the same price was published; null: in force.';

-- Tiers cannot have gaps or overlaps: each starts where another of the same price ends (the foreign key), or at 0; no
-- two start or end at the same quantity, and only one has no end.
CREATE TABLE price_tier (
    price_id bigint NOT NULL REFERENCES price,
    tier_number smallint NOT NULL CHECK (tier_number >= 1),
    from_quantity numeric NOT NULL CHECK (from_quantity >= 0),
    up_to numeric CHECK (up_to > from_quantity),
    previous_up_to numeric,
    unit_price numeric NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (price_id, tier_number),
    UNIQUE (price_id, from_quantity),
    UNIQUE (price_id, up_to),
    FOREIGN KEY (price_id, previous_up_to) REFERENCES price_tier (price_id, up_to),
    CHECK (CASE WHEN tier_number = 1 THEN previous_up_to IS NULL AND from_quantity = 0
                ELSE previous_up_to IS NOT NULL AND previous_up_to = from_quantity END)
);
CREATE UNIQUE INDEX price_tier_last ON price_tier (price_id) WHERE up_to IS NULL;
COMMENT ON TABLE price_tier IS 'The tiers of a price: the part of a quantity in (from_quantity, up_to] costs unit_price each.';
COMMENT ON COLUMN price_tier.price_id IS 'Whose tier.';
COMMENT ON COLUMN price_tier.tier_number IS 'Counts from 1, upwards.';
COMMENT ON COLUMN price_tier.from_quantity IS 'Where it starts, exclusive, in the meter''s unit.';
COMMENT ON COLUMN price_tier.up_to IS 'Where it ends, inclusive; null: the last tier.';
COMMENT ON COLUMN price_tier.previous_up_to IS 'The end of the tier before, for the constraint; null: the first tier.';
COMMENT ON COLUMN price_tier.unit_price IS 'Price of one unit, exact.';

CREATE TABLE publication_clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_published_at timestamptz NOT NULL
);
INSERT INTO publication_clock (last_published_at) VALUES ('1970-01-01T00:00:00Z');
COMMENT ON TABLE publication_clock IS
    'Orders publications of loads and prices. Publishing holds an advisory lock, moves the clock on by at least a microsecond, and commits: so nothing ever appears at or before a moment that the clock has shown.';
COMMENT ON COLUMN publication_clock.only_row IS 'There is one row.';
COMMENT ON COLUMN publication_clock.last_published_at IS 'When the newest publication took place.';
