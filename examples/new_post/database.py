"""The one engine and the one gator of the application; everything else imports them."""

from sqlalchemy import create_engine

from alligator_sql import Gator

from . import settings

engine = create_engine(settings.DATABASE)
gator = Gator(engine=engine)
