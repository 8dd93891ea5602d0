-- Statements: the closed bills of organizations, written once (docs/decisions/050).

CREATE SEQUENCE statement_id_seq;
CREATE TABLE statement (
    statement_id bigint PRIMARY KEY DEFAULT nextval('statement_id_seq'),
    organization_id uuid NOT NULL REFERENCES organization,
    billing_month date NOT NULL CHECK (extract(day FROM billing_month) = 1),
    previous_month date CHECK (previous_month = billing_month - interval '1 month'),
    sequence_number bigint NOT NULL UNIQUE CHECK (sequence_number >= 1),
    horizon timestamptz NOT NULL,
    closed_at timestamptz NOT NULL CHECK (closed_at > horizon),
    line_count integer NOT NULL CHECK (line_count >= 0),
    adjustment_count integer NOT NULL CHECK (adjustment_count >= 0),
    line_total numeric NOT NULL,
    adjustment_total numeric NOT NULL,
    head text NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    key_id text,
    signature bytea CHECK (octet_length(signature) = 64),
    CHECK ((key_id IS NULL) = (signature IS NULL)),
    UNIQUE (organization_id, billing_month),
    -- Months close in order: each after the one before it.
    FOREIGN KEY (organization_id, previous_month) REFERENCES statement (organization_id, billing_month)
);
CREATE UNIQUE INDEX statement_first ON statement (organization_id) WHERE previous_month IS NULL;
COMMENT ON TABLE statement IS 'The closed bill of an organization''s month. Published by the publication clock, and never changed.';
COMMENT ON COLUMN statement.statement_id IS 'Key.';
COMMENT ON COLUMN statement.organization_id IS 'Whose bill.';
COMMENT ON COLUMN statement.billing_month IS 'First day of the month whose bill it is.';
COMMENT ON COLUMN statement.previous_month IS 'First day of the month before, which has a statement; null: the organization''s first statement.';
COMMENT ON COLUMN statement.sequence_number IS 'Counts the statements of all organizations from 1, without gaps; the end of the statement''s number.';
COMMENT ON COLUMN statement.horizon IS 'It has all usage and prices that were published until then, and nothing later.';
COMMENT ON COLUMN statement.closed_at IS 'When it was published, by the publication clock: from then on the month is closed.';
COMMENT ON COLUMN statement.line_count IS 'How many lines it has.';
COMMENT ON COLUMN statement.adjustment_count IS 'How many adjustments it has.';
COMMENT ON COLUMN statement.line_total IS 'The sum of the costs of its lines.';
COMMENT ON COLUMN statement.adjustment_total IS 'The sum of the amounts of its adjustments.';
COMMENT ON COLUMN statement.head IS 'What was signed: the canonical JSON (RFC 8785) of what the statement says of itself, with the digests of its lists.';
COMMENT ON COLUMN statement.digest IS 'SHA-256 of head.';
COMMENT ON COLUMN statement.key_id IS 'The key of the signature; null: it is not signed.';
COMMENT ON COLUMN statement.signature IS 'Ed25519, of the 32 bytes of digest; null: it is not signed.';

CREATE TABLE statement_line (
    statement_id bigint NOT NULL REFERENCES statement DEFERRABLE INITIALLY DEFERRED,
    adjustment boolean NOT NULL,
    line_number integer NOT NULL CHECK (line_number >= 1),
    tenant_key bigint NOT NULL REFERENCES tenant,
    usage_month date NOT NULL CHECK (extract(day FROM usage_month) = 1),
    meter_key bigint NOT NULL REFERENCES meter,
    billing_region smallint NOT NULL CHECK (billing_region BETWEEN 1 AND 4),
    amount numeric,
    content text NOT NULL,
    CHECK (amount IS NOT NULL OR NOT adjustment),
    PRIMARY KEY (statement_id, adjustment, line_number)
);
CREATE INDEX statement_line_usage ON statement_line (tenant_key, usage_month);
COMMENT ON TABLE statement_line IS 'The lines and adjustments of statements, as they were.';
COMMENT ON COLUMN statement_line.statement_id IS 'Of which statement. The lines are written before it.';
COMMENT ON COLUMN statement_line.adjustment IS 'Whether it is an adjustment, of a month that was closed before.';
COMMENT ON COLUMN statement_line.line_number IS 'Position among the lines, or among the adjustments, of the statement: 1, 2, 3, ...';
COMMENT ON COLUMN statement_line.tenant_key IS 'Whose usage.';
COMMENT ON COLUMN statement_line.usage_month IS 'First day of the month of the usage.';
COMMENT ON COLUMN statement_line.meter_key IS 'Of which meter.';
COMMENT ON COLUMN statement_line.billing_region IS '1 AF, 2 AP, 3 EU, 4 NA.';
COMMENT ON COLUMN statement_line.amount IS 'What it bills, in the organization''s currency; null: a line that no price covered.';
COMMENT ON COLUMN statement_line.content IS 'The line or adjustment as canonical JSON (RFC 8785).';

CREATE TABLE statement_report (
    statement_id bigint NOT NULL REFERENCES statement DEFERRABLE INITIALLY DEFERRED,
    report_number integer NOT NULL CHECK (report_number >= 1),
    tenant_key bigint NOT NULL REFERENCES tenant,
    content text NOT NULL,
    PRIMARY KEY (statement_id, report_number)
);
COMMENT ON TABLE statement_report IS 'The detailed usage reports that statements come from: of the billing month, and of the months that were adjusted.';
COMMENT ON COLUMN statement_report.statement_id IS 'Of which statement.';
COMMENT ON COLUMN statement_report.report_number IS 'Position in the statement: 1, 2, 3, ...';
COMMENT ON COLUMN statement_report.tenant_key IS 'Whose report.';
COMMENT ON COLUMN statement_report.content IS 'Tenant, month, revision and more as canonical JSON (RFC 8785).';

CREATE TABLE statement_key (
    key_id text PRIMARY KEY,
    public_key bytea NOT NULL UNIQUE CHECK (octet_length(public_key) = 32),
    first_used_at timestamptz NOT NULL
);
COMMENT ON TABLE statement_key IS 'The public keys of all signatures of statements, kept for ever.';
COMMENT ON COLUMN statement_key.key_id IS 'SHA-256 thumbprint of the key as a JWK (RFC 7638), base64url.';
COMMENT ON COLUMN statement_key.public_key IS 'Ed25519.';
COMMENT ON COLUMN statement_key.first_used_at IS 'When the first statement that it signed was published, by the publication clock.';
ALTER TABLE statement ADD FOREIGN KEY (key_id) REFERENCES statement_key;

-- What closed months are adjusted for. A month closes when it is over, so what comes later has come after its end; such rows
-- are few.
CREATE INDEX usage_month_late ON usage_month (tenant_key, published_at)
    WHERE published_at >= (usage_month + interval '1 month') AT TIME ZONE 'UTC';

CREATE OR REPLACE FUNCTION bring_back_publication_clock() RETURNS timestamptz
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    present timestamptz;
    before timestamptz[];
BEGIN
    -- A purge compares moments. Its lock, and the publish lock (src/store/locks.rs).
    PERFORM pg_advisory_xact_lock(x'0053435200000004'::bigint);
    PERFORM pg_advisory_xact_lock(x'0053435200000001'::bigint);
    present := clock_timestamp();
    -- In order, so that what superseded another thing still does.
    before := ARRAY(
        SELECT published_at FROM usage_import WHERE published_at > present
        UNION SELECT published_at FROM usage_load WHERE published_at > present
        UNION SELECT published_at FROM usage_month WHERE published_at > present
        UNION SELECT applied_at FROM price WHERE applied_at > present
        UNION SELECT superseded_at FROM price WHERE superseded_at > present
        UNION SELECT applied_at FROM uncharged_meter WHERE applied_at > present
        UNION SELECT superseded_at FROM uncharged_meter WHERE superseded_at > present
        UNION SELECT horizon FROM statement WHERE horizon > present
        UNION SELECT closed_at FROM statement WHERE closed_at > present
        ORDER BY 1
    );
    UPDATE usage_import SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    UPDATE usage_load SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at > present;
    -- The totals refer to the months, so these are there twice for a moment.
    INSERT INTO usage_month (tenant_key, usage_month, published_at, revision)
    SELECT tenant_key, usage_month, present + array_position(before, published_at) * interval '1 microsecond', revision
    FROM usage_month WHERE published_at = ANY (before);
    UPDATE usage_month_total SET published_at = present + array_position(before, published_at) * interval '1 microsecond'
    WHERE published_at = ANY (before);
    DELETE FROM usage_month WHERE published_at = ANY (before);
    UPDATE price SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
                     superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond',
                                              superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    UPDATE uncharged_meter
    SET applied_at = coalesce(present + array_position(before, applied_at) * interval '1 microsecond', applied_at),
        superseded_at = coalesce(present + array_position(before, superseded_at) * interval '1 microsecond', superseded_at)
    WHERE applied_at > present OR superseded_at > present;
    -- What a statement says of itself is signed, and stays. These say what it has, and from when on.
    UPDATE statement
    SET horizon = coalesce(present + array_position(before, horizon) * interval '1 microsecond', horizon),
        closed_at = coalesce(present + array_position(before, closed_at) * interval '1 microsecond', closed_at)
    WHERE horizon > present OR closed_at > present;
    UPDATE statement_key SET first_used_at = present + array_position(before, first_used_at) * interval '1 microsecond'
    WHERE first_used_at > present;
    UPDATE publication_clock SET last_published_at = present + cardinality(before) * interval '1 microsecond'
    WHERE last_published_at > present;
    RETURN (SELECT last_published_at FROM publication_clock);
END
$$;
COMMENT ON TABLE publication_clock IS
    'Orders publications of loads, of prices, of what is charged and of statements. Publishing holds an advisory lock, moves the clock on by at least a microsecond, and commits: so nothing ever appears at or before a moment that the clock has shown.';
