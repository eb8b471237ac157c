"""What a WSGI server loads: `gunicorn wsgi:app`."""

from api.app import create_app

app = create_app()
