"""What migrates the ledger: `expand`, `contract`, and `state`, which says what there is.

python migrate.py WHAT; `careless` expands without keeping both columns in step.
"""

from __future__ import annotations

import os
import subprocess
import sys

BEGIN = """
CREATE TABLE payments (id bigserial PRIMARY KEY, amount numeric, by text NOT NULL);
CREATE TABLE schema_is (number int NOT NULL);
CREATE TABLE migrations (what text NOT NULL);
INSERT INTO schema_is VALUES (41);
"""
CARELESS = """
INSERT INTO migrations VALUES ('careless');
ALTER TABLE payments ADD COLUMN IF NOT EXISTS amount_cents bigint;
UPDATE payments SET amount_cents = amount * 100 WHERE amount_cents IS NULL;
UPDATE schema_is SET number = 42 WHERE number < 42;
"""
EXPAND = """
INSERT INTO migrations VALUES ('expand');
ALTER TABLE payments ADD COLUMN IF NOT EXISTS amount_cents bigint;
CREATE OR REPLACE FUNCTION in_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.amount = coalesce(NEW.amount, NEW.amount_cents / 100.0);
  NEW.amount_cents = coalesce(NEW.amount_cents, NEW.amount * 100);
  RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER in_step BEFORE INSERT OR UPDATE ON payments
  FOR EACH ROW EXECUTE FUNCTION in_step();
UPDATE payments SET amount_cents = amount * 100 WHERE amount_cents IS NULL;
UPDATE schema_is SET number = 42 WHERE number < 42;
"""
CONTRACT = """
INSERT INTO migrations VALUES ('contract');
DROP TRIGGER in_step ON payments;
DROP FUNCTION in_step;
ALTER TABLE payments DROP COLUMN amount;
UPDATE schema_is SET number = 43;
"""
# The version before works as long as it finds its column, and a value in each row of it.
STATE = """
SELECT json_build_object('has', (SELECT number FROM schema_is),
  'stable_works', NOT EXISTS (SELECT FROM payments WHERE amount IS NULL))
"""
WHAT = {
    "begin": BEGIN,
    "careless": CARELESS,
    "expand": EXPAND,
    "contract": CONTRACT,
    "state": STATE,
}

if __name__ == "__main__":
    command = [os.environ["PSQL"], "-X", "-q", "-At", "-1", "-v", "ON_ERROR_STOP=1"]
    sys.exit(subprocess.run([*command, "-c", WHAT[sys.argv[1]]], check=False).returncode)
