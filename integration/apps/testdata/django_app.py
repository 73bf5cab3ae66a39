"""A Django project in a file, which sends whoever comes over HTTP to HTTPS."""

import os
import time

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use to anybody",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SECURE_SSL_REDIRECT=True,
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import re_path  # noqa: E402



def answer(request):
    if request.path == "/slow":
        time.sleep(0.1)
    return HttpResponse(os.environ["APP_NAME"])


urlpatterns = [re_path("", answer)]
app = get_wsgi_application()
