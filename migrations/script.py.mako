"""${message}.

Revision: ${up_revision}, after ${down_revision | comma,n}, ${create_date.date()}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Create what is new."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Drop it."""
    options = op.get_context().opts
    prefix, schema = options["prefix"], options["schema"]
    ${downgrades if downgrades else "pass"}
